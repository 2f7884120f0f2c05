"""What must be consistent: money, holds, events, accounts, work that happens once. Only it moves money."""
