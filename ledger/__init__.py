"""What must be consistent: money, holds, events, accounts, work that happens once. The only package that moves money."""
