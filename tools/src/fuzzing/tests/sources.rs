//! Sources as users send them, and such as are meant to hurt.

/// Short ones, from which others are made.
pub(super) const SHORT: &[&str] = &[
    r#"
import requests
from typing import List, Optional

def web_search(query: str, sites: Optional[List[str]] = None, limit: int = 10) -> str:
    """Search the web.

    Args:
        query: What to look for.
        sites (List[str], optional): Only these sites.
        limit: How many results.

    Returns:
        str: The results, a line each.
    """
    response = requests.get("https://api.example.com", params={"q": query}, timeout=30)
    return "\n".join(item["title"] for item in response.json()["results"][:limit])
"#,
    r#"
from enum import Enum
from pydantic import BaseModel, Field

class Unit(str, Enum):
    KILO = "kg"
    GRAM = "g"

class Entry(BaseModel):
    """One entry."""
    title: str = Field(..., description="Its title.", alias="name")
    unit: Unit = Unit.KILO
    tags: list[str] = []
    place: "tuple[float, float] | None" = None

def store(entries: list[Entry], mode: Literal["add", "replace", 3, None] = "add"):
    """Store entries.

    Args:
        entries: What to store.
        mode: How.
    """
"#,
    r#"
import functools

def logged(function):
    @functools.wraps(function)
    async def inner(*args, **kwargs):
        return await function(*args, **kwargs)
    return inner

@logged
@retry(times=3, on=(ValueError, OSError))
async def fetch(self, agent_state: "AgentState", url: str, *, timeout: float = -2.5, follow: bool = True):
    '''Fetch a page.

    :param url: Its address.
    :param timeout: Seconds.
    :param bool follow: Whether to follow redirects.
    '''
    async with session() as s:
        return [line async for line in s.get(url) if (n := len(line)) > 3]
"#,
    "class Node(BaseModel):\n    value: int\n    next: Optional['Node'] = None\n    others: list[\"Tree\"]\nclass Tree(Node):\n    \
     nodes: list[Node]\ndef walk(node: Node):\n    '''Walk.\n\n    Args:\n        node: Where from.\n    '''\n",
    "from typing import TypedDict, NotRequired, Annotated as A\nfrom dataclasses import dataclass, field\nclass Movie(TypedDict, \
     total=False):\n    title: str\n    year: NotRequired[int]\n@dataclass\nclass Point:\n    x: float\n    y: float = \
     field(default_factory=lambda: 0.0)\ndef f(m: Movie, p: Point, q: A[int, \"How many.\"] = 5, r: A[str, Field(description='It.')] \
     = None):\n    'Does.\\n\\nParameters\\n----------\\nm : Movie\\n    Which.\\np : Point\\n    Where.\\n'\n",
    "X = (1, 2)\nType = tuple[int, tuple[str, 'list[float]'], X]\nUserId = NewType('UserId', str)\ntype Ids = list[UserId]\ndef \
     f(a: Type, b: Ids, c: list = [X, {'k': X}]):\n    \"\"\"Does.\n\n    Args:\n        a: A.\n        b: B.\n        c: C.\n    \"\"\"\n",
    "\u{feff}def wetter(ort: str, einheit: str = \"°C\") -> str:\r\n\t\"\"\"Wie ist das Wetter? 天気 ☀️\u{2028}\r\n\r\n\tArgs:\r\n\t\tort: \
     Der Ort.\r\n\t\teinheit (str): °C\r\n\t\t\toder °F\r\n\t\"\"\"\r\n\treturn f'{ort!r:>{10}} {f\"{'🌧'}\"}'\r\n",
    "def größe(ﬁeld: int, x\u{301}: 'ſtr', __class__: str, a_very_long_name_that_is_far_longer_than_any_name_of_a_parameter: int):\r    \
     '\\x00\\ud800 \\N{BULLET}\\u200b'\r",
    "def f(x: int):\n    \"\"\"Does.\0\"\"\"\n\0",
    "def first[T](items: list[T]) -> T: ...\ndef total(n: list[int], mode: str = 'sum' 'med'):\n    \"\"\"Add.\n\n    Args:\n        n: What.\n        \
     mode: How.\n    \"\"\"\n    match mode:\n        case 'sum' | {'op': [op, *_]} if op:\n            yield (yield n), 2\n        case \
     _:\n            raise ValueError(f'{mode + 'x'}')\n    try:\n        pass\n    except* E:\n        pass\n    \\\n    pass;\n",
    "class E(Enum):\n    a = 1\n    b = 2.5\n    c = 1\n    d = None\n    e = (1, 2)\nclass F(Enum):\n    a, b = 'x', 'y'\n    c = E.a.value\ndef \
     f(e: E = E.a, g: 'F' = F.c, h: Literal[True, 1, 1.0, 'a', 'a'] = ...):\n    '''Does.\n\n    Args:\n        e: E.\n        g: G.\n        \
     h: H.\n    '''\n",
    "def f(x: Optional[Union[None, 'Optional[int]']] = None, y: dict[str, int] = {}, z: Any = 1, *rest, **more):\n    '''Does.'''\n",
    "// A note.\nexport async function f($a: number): Promise<string> { return `${$a} \\` export` + \"'\" + /x/.source; }\nexport default \
     function g() {}\n",
    "x = ([), f'''{'''\n(yield a, yield b, lambda: (\n",
    "",
];

/// Long ones, each of which once was or could be too much: nesting of all kinds, names that stand for more than they say.
pub(super) fn long() -> Vec<String> {
    let many = 30_000;
    let documented = "    '''Does.\n\n    Args:\n        x: It.\n    '''\n";
    let tool = |hint: &str| format!("def f(x: {hint}):\n{documented}");
    let nested = |open: &str, close: &str, times: usize| {
        tool(&format!("{}int{}", open.repeat(times), close.repeat(times)))
    };
    let classes: String = (0..31)
        .map(|level| format!("class C{level}(BaseModel):\n    x: C{}\n", level + 1))
        .collect();
    let mut sources = vec![
        nested("tuple[", "]", 31),
        nested("tuple[str, ", "]", 31),
        nested("list[", "]", 31),
        nested("list[", "]", 400),
        nested("Optional['", "']", 3),
        format!("{classes}class C31(BaseModel):\n    x: int\n{}", tool("C0")),
        format!(
            "{classes}class C31(BaseModel):\n    x: list = {}{}\n{}",
            "[".repeat(30),
            "]".repeat(30),
            tool("C0")
        ),
        tool(&format!("Literal[{}]", "'a', 'b', 1, ".repeat(2_000))),
        tool(&format!("tuple[{}]", "list[int], ".repeat(2_000))),
        format!(
            "def f(x: int):\n    '''Does.\n\n    Args:\n        x: {}\n    '''\n",
            "It goes on.\n".repeat(50_000)
        ),
        format!(
            "def f(x: int):\n    '''{}'''\n",
            "\t\u{3000}x (int): It.\n\n:param x: \n----\n".repeat(20_000)
        ),
        format!("def f(x: int):\n    '''{}", "Does. ".repeat(100_000)),
        format!("{}def f():\n    'Does.'\n", "@a(b)\n".repeat(9_000)),
        format!("def f():\n    'Does.'\n{}", "\t".repeat(500_000)),
        format!("def f():\n    'Does.'\n{}", "\0".repeat(500_000)),
        format!("def {}():\n    'Does.'\n", "é".repeat(200_000)),
        format!(
            "def f({}):\n    'Does.'\n",
            (0..5_000).map(|n| format!("a{n}: int, ")).collect::<String>()
        ),
    ];
    // What the parser reads otherwise than it stands there, because it is no Python.
    sources.extend(
        [
            "yield a, ",
            "yield from a, ",
            "lambda a, ",
            "[),",
            "(],",
            "{),",
            "f'''{'''\n[",
            "1if 1else ",
            "a\n(b, ",
        ]
        .iter()
        .flat_map(|unit| {
            let unit = unit.repeat(many / unit.len() / 2);
            [
                format!("x = ({unit}"),
                format!("x = ([), {unit}\n"),
                format!("x = f'''{{'''\n{unit}"),
                tool(&format!("'{unit}'")),
            ]
        }),
    );
    sources.push(format!("x = f'''{{'''\n{}", "[".repeat(60_000)));
    sources.push(format!("x = f'''{{'''\n{}", "[".repeat(600_000)));
    sources
}
