"""An agent with a budget: it asks its questions, pays at most what its session has, and stops when that is spent.

    python examples/budget_agent.py [BUDGET_USD] [QUESTION ...]

It needs P402_BASE_URL and P402_API_KEY in the environment, and the package `openai`, which brings `httpx`.
"""

from __future__ import annotations

import os
import sys

import httpx
import openai

BASE_URL = os.environ["P402_BASE_URL"].rstrip("/")
API_KEY = os.environ["P402_API_KEY"]
QUESTIONS = [
    "What is the x402 payment protocol?",
    "What does an EIP-3009 authorization let somebody else do?",
    "How does routing by cost differ from routing by quality?",
    "What is the x402 payment protocol?",  # asked before: the cache answers
    "When do two questions mean the same to a cache?",
]
LOW_USD = 0.50

client = openai.OpenAI(base_url=BASE_URL, api_key=API_KEY)
node = httpx.Client(base_url=BASE_URL, headers={"Authorization": f"Bearer {API_KEY}"}, timeout=10)


def open_session(budget_usd: float) -> str:
    """A session is a cap: no call in it can spend what is not left."""
    made = node.post("/sessions", json={"budget_usd": budget_usd, "agent_identifier": "budget-agent"})
    return made.raise_for_status().json()["id"]


def stats_of(session_id: str) -> dict:
    return node.get(f"/sessions/{session_id}/stats").raise_for_status().json()


def ask(question: str, session_id: str) -> str:
    """The answer; prints what it cost and who gave it."""
    answer = client.chat.completions.create(
        model="auto",
        messages=[{"role": "user", "content": question}],
        extra_body={"p402": {"session_id": session_id, "mode": "cost", "cache": True}},
    )
    said = answer.p402_metadata
    cost = "CACHED (free)" if said["cached"] else f"${said['cost_usd']:.6f} via {said['provider']}"
    print(f"  [{cost}]")
    return answer.choices[0].message.content or ""


def ask_within_budget(question: str, session_id: str) -> str | None:
    """The answer, or None once the session cannot pay for it."""
    stats = stats_of(session_id)
    left_usd = stats["budget_usd"] - stats["budget_spent_usd"]
    if left_usd <= 0:
        print("Budget exhausted.")
        return None
    if left_usd < LOW_USD:
        print(f"  Warning: ${left_usd:.6f} left.")
    try:
        return ask(question, session_id)
    except openai.APIStatusError as error:
        # A 402 has no class of its own in the SDK; BadRequestError is for 400 alone.
        if error.status_code == 402 and error.code == "SESSION_BUDGET_EXCEEDED":
            print("Budget exhausted in mid-run.")
            return None
        raise


def main(budget_usd: float, questions: list[str]) -> None:
    session_id = open_session(budget_usd)
    print(f"Session {session_id}, budget ${budget_usd:.6f}")
    for number, question in enumerate(questions, 1):
        print(f"Q{number}: {question}")
        answer = ask_within_budget(question, session_id)
        if answer is None:
            break
        print(f"A: {answer[:120]}")
    stats = stats_of(session_id)
    print(f"Total spent: ${stats['budget_spent_usd']:.6f} of ${stats['budget_usd']:.6f} ({stats['status']})")
    print(f"Requests: {stats['request_count']}")
    print(f"Cache hits: {stats['cache_hits']}")


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 5.0, sys.argv[2:] or QUESTIONS)
