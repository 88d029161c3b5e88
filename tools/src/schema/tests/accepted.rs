//! Whole sources as users send them.

use super::{Case, check};

#[test]
fn what_users_write_becomes_what_models_are_told() {
    check(CASES);
}

const CASES: &[Case] = &[
    Case {
        says: "the dice of the documentation, with its import inside",
        source: r#"
def roll_d20() -> str:
    """
    Simulate the roll of a 20-sided die (d20).

    This function generates a random integer between 1 and 20, inclusive,
    which represents the outcome of a single roll of a d20.

    Returns:
        str: The result of the die roll.
    """
    import random

    dice_role_outcome = random.randint(1, 20)
    return f"You rolled a {dice_role_outcome}"
"#,
        name: "roll_d20",
        description: "Simulate the roll of a 20-sided die (d20).\n\nThis function generates a random integer between 1 and 20, inclusive,\nwhich represents the outcome of a single roll of a d20.",
        parameters: r#"{"type":"object","properties":{},"required":[]}"#,
    },
    Case {
        says: "an example is kept, returns and exceptions are not",
        source: r#"
def convert(amount: float, currency: str = "EUR") -> str:
    """Convert an amount of US dollars.

    Args:
        amount (float): The amount in dollars.
        currency (str, optional): The code of the target currency.
            Three letters, as in ISO 4217.

    Returns:
        str: The amount with its unit.

    Raises:
        ValueError: If the currency: is unknown.

    Examples:
        >>> convert(1.0, "EUR")
        '0.92 EUR'
    """
    return f"{amount * 0.92} {currency}"
"#,
        name: "convert",
        description: "Convert an amount of US dollars.\n\nExamples:\n    >>> convert(1.0, \"EUR\")\n    '0.92 EUR'",
        parameters: r#"{"type":"object","properties":{"amount":{"type":"number","description":"The amount in dollars."},"currency":{"type":"string","default":"EUR","description":"The code of the target currency.\nThree letters, as in ISO 4217."}},"required":["amount"]}"#,
    },
    Case {
        says: "the last function is the tool, helpers and imports above it are not",
        source: r#"
import os
import requests
from typing import List, Optional

API = "https://api.example.com/search"

def _headers(key):
    return {"Authorization": f"Bearer {key}"}

def web_search(query: str, sites: Optional[List[str]] = None, limit: int = 10) -> str:
    """Search the web.

    Args:
        query: What to look for.
        sites: Only these sites.
        limit: How many results.
    """
    def parse(item: dict) -> str:
        return item["title"]
    key = os.getenv("SEARCH_KEY")
    response = requests.get(API, headers=_headers(key), params={"q": query}, timeout=30)
    response.raise_for_status()
    return "\n".join(parse(item) for item in response.json()["results"][:limit])
"#,
        name: "web_search",
        description: "Search the web.",
        parameters: r#"{"type":"object","properties":{"query":{"type":"string","description":"What to look for."},"sites":{"type":"array","items":{"type":"string"},"description":"Only these sites."},"limit":{"type":"integer","default":10,"description":"How many results."}},"required":["query"]}"#,
    },
    Case {
        says: "async, and a decorator",
        source: r#"
import functools

def logged(function):
    @functools.wraps(function)
    async def inner(*args, **kwargs):
        return await function(*args, **kwargs)
    return inner

@logged
async def fetch(url: str, *, timeout: float = 2.5, follow: bool = True) -> str:
    """Fetch a page.

    Args:
        url: Its address.
        timeout: Seconds.
        follow: Whether to follow redirects.
    """
    async with session() as s:
        return [line async for line in s.get(url)]
"#,
        name: "fetch",
        description: "Fetch a page.",
        parameters: r#"{"type":"object","properties":{"url":{"type":"string","description":"Its address."},"timeout":{"type":"number","default":2.5,"description":"Seconds."},"follow":{"type":"boolean","default":true,"description":"Whether to follow redirects."}},"required":["url"]}"#,
    },
    Case {
        says: "what the server injects is hidden",
        source: r#"
def remember(self, agent_state: "AgentState", fact: str, agent_id: str = "") -> None:
    """Remember a fact.

    Args:
        agent_state (AgentState): The state of the agent.
        fact (str): The fact.
    """
    agent_state.memory.append(fact)
"#,
        name: "remember",
        description: "Remember a fact.",
        parameters: r#"{"type":"object","properties":{"fact":{"type":"string","description":"The fact."}},"required":["fact"]}"#,
    },
    Case {
        says: "classes before, which are no tools",
        source: r#"
class Client:
    """Talks."""
    def __init__(self, base):
        self.base = base

    def get(self, path: str):
        """Get."""
        return path

def ping(host: str) -> bool:
    "Ping a host.\n\nArgs:\n    host: Its name."
    return Client(host).get("/")
"#,
        name: "ping",
        description: "Ping a host.",
        parameters: r#"{"type":"object","properties":{"host":{"type":"string","description":"Its name."}},"required":["host"]}"#,
    },
    Case {
        says: "any language in the words",
        source: "# -*- coding: utf-8 -*-\ndef wetter(ort: str, einheit: str = \"°C\") -> str:\n    \"\"\"Wie ist das Wetter? 天気 ☀️\n\n    Args:\n        ort: Der Ort, z. B. Köln: am Rhein.\n        einheit: °C oder °F\n    \"\"\"\n    größe = 1\n    return f'{größe} 🌧'\n",
        name: "wetter",
        description: "Wie ist das Wetter? 天気 ☀️",
        parameters: r#"{"type":"object","properties":{"ort":{"type":"string","description":"Der Ort, z. B. Köln: am Rhein."},"einheit":{"type":"string","default":"°C","description":"°C oder °F"}},"required":["ort"]}"#,
    },
    Case {
        says: "tabs, and lines that end as on Windows",
        source: "def f(a: int):\r\n\t\"\"\"Does it.\r\n\r\n\tArgs:\r\n\t\ta (int): The number\r\n\t\t\tto use.\r\n\t\"\"\"\r\n\treturn a\r\n",
        name: "f",
        description: "Does it.",
        parameters: r#"{"type":"object","properties":{"a":{"type":"integer","description":"The number\nto use."}},"required":["a"]}"#,
    },
    Case {
        says: "a byte order mark, and lines that end as on old Macs",
        source: "\u{feff}def f(a: int):\r    'Does it.\\n\\n    Args:\\n        a: The number.'\r    return a",
        name: "f",
        description: "Does it.",
        parameters: r#"{"type":"object","properties":{"a":{"type":"integer","description":"The number."}},"required":["a"]}"#,
    },
    Case {
        says: "the newest syntax",
        source: r#"
from dataclasses import dataclass
type Numbers = list[int]

def first[T](items: list[T]) -> T:
    return items[0]

def total(numbers: Numbers, mode: str = 'sum') -> str:
    """Add up.

    Args:
        numbers: What to add.
        mode: How.
    """
    match mode:
        case 'sum' | 'add':
            result = sum(numbers)
        case {'op': [op, *_]} if op:
            result = 0
        case _:
            raise ValueError(f"no such mode: {mode!r:>{10}} {f'{mode + 'x'}'}")
    if (n := len(numbers)) > 3:
        print(n)
    try:
        pass
    except* ValueError:
        pass
    return f"{result=}"
"#,
        name: "total",
        description: "Add up.",
        parameters: r#"{"type":"object","properties":{"numbers":{"type":"array","items":{"type":"integer"},"description":"What to add."},"mode":{"type":"string","default":"sum","description":"How."}},"required":["numbers"]}"#,
    },
    Case {
        says: "hints as texts, as `from __future__ import annotations` allows",
        source: r#"
from __future__ import annotations
import typing as t

def book(day: "str", seats: 't.Optional[int]' = None, names: "list['str'] | None" = None):
    """Book seats.

    Args:
        day: Which day.
        seats: How many.
        names: For whom.
    """
"#,
        name: "book",
        description: "Book seats.",
        parameters: r#"{"type":"object","properties":{"day":{"type":"string","description":"Which day."},"seats":{"type":"integer","description":"How many."},"names":{"type":"array","items":{"type":"string"},"description":"For whom."}},"required":["day"]}"#,
    },
    Case {
        says: "defaults of every kind",
        source: r#"
LIMIT = 25
def f(a: int = -1, b: float = -0.5, c: bool = False, d: list = [], e: dict = {"k": [1, None]}, g: str = 'it''s',
      h: int = LIMIT, i: int = 60 * 60, j: float = float("inf"), k: int = 99999999999999999999999, l: int = 0x10, m: str = None):
    """Does.

    Args:
        a: A.
        b: B.
        c: C.
        d: D.
        e: E.
        g: G.
        h: H.
        i: I.
        j: J.
        k: K.
        l: L.
        m: M.
    """
"#,
        name: "f",
        description: "Does.",
        parameters: r#"{"type":"object","properties":{"a":{"type":"integer","default":-1,"description":"A."},"b":{"type":"number","default":-0.5,"description":"B."},"c":{"type":"boolean","default":false,"description":"C."},"d":{"type":"array","items":{"type":"string"},"default":[],"description":"D."},"e":{"type":"object","default":{"k":[1,null]},"description":"E."},"g":{"type":"string","default":"its","description":"G."},"h":{"type":"integer","default":25,"description":"H."},"i":{"type":"integer","description":"I."},"j":{"type":"number","description":"J."},"k":{"type":"integer","description":"K."},"l":{"type":"integer","default":16,"description":"L."},"m":{"type":"string","description":"M."}},"required":[]}"#,
    },
    Case {
        says: "a post to a social network, by an agent's author",
        source: r#"
def bsky_post(text: list, lang: str = "en-US") -> str:
    """Post a thread to Bluesky.

    Each item of the list becomes a post of its own.

    Args:
        text (List[str]): The posts: at most 300 characters each.
        lang (str): Language code. Defaults to "en-US".

    Returns:
        str: Success message with post URL(s)
    """
    import os, requests
    from datetime import datetime, timezone
    try:
        session = requests.post("https://bsky.social/xrpc/com.atproto.server.createSession", json={
            "identifier": os.environ["BSKY_USERNAME"], "password": os.environ["BSKY_APP_PASSWORD"],
        }, timeout=10)
        for i, post in enumerate(text, 1):
            record = {"$type": "app.bsky.feed.post", "text": post, "createdAt": datetime.now(timezone.utc).isoformat()}
        return f"posted {len(text)} post{'s' if len(text) > 1 else ''}"
    except Exception as e:
        raise Exception(f"Error posting: {e}") from e
"#,
        name: "bsky_post",
        description: "Post a thread to Bluesky.\n\nEach item of the list becomes a post of its own.",
        parameters: r#"{"type":"object","properties":{"text":{"type":"array","items":{"type":"string"},"description":"The posts: at most 300 characters each."},"lang":{"type":"string","default":"en-US","description":"Language code. Defaults to \"en-US\"."}},"required":["text"]}"#,
    },
    Case {
        says: "a signature over many lines, with comments and trailing commas",
        source: r#"
def send_mail(
    to: str,  # who
    subject: str,
    *,
    # copies
    cc: list[str] = (),
    urgent: bool = False,
) -> dict:  # the receipt
    '''
    Send a mail.

    Args:
        to: The receiver.
        subject: The subject.
        cc: Who else.

        urgent: Whether it is.
    '''
    return {}
"#,
        name: "send_mail",
        description: "Send a mail.",
        parameters: r#"{"type":"object","properties":{"to":{"type":"string","description":"The receiver."},"subject":{"type":"string","description":"The subject."},"cc":{"type":"array","items":{"type":"string"},"default":[],"description":"Who else."},"urgent":{"type":"boolean","default":false,"description":"Whether it is."}},"required":["to","subject"]}"#,
    },
    Case {
        says: "of two functions of one name the later counts",
        source: "def f(a: int):\n    pass\n\nif __name__ == '__main__':\n    f(1)\n\ndef f():\n    'Does.'\n    ...\n\nprint('ready')\n",
        name: "f",
        description: "Does.",
        parameters: r#"{"type":"object","properties":{},"required":[]}"#,
    },
    Case {
        says: "a class of the SDK, after it has made source of its method",
        source: "def manage_inventory(data: dict, quantity_change: int) -> bool:\n        \"\"\"\n        Update the inventory.\n\n        Args:\n            data: The entry.\n            quantity_change: By how many.\n        \"\"\"\n        print(f\"Updated {data} by {quantity_change}\")\n        return True\n",
        name: "manage_inventory",
        description: "Update the inventory.",
        parameters: r#"{"type":"object","properties":{"data":{"type":"object","description":"The entry."},"quantity_change":{"type":"integer","description":"By how many."}},"required":["data","quantity_change"]}"#,
    },
];
