//! Classes of the source as parameters.

use super::{Case, check, hint};

#[test]
fn classes_of_the_source_become_objects() {
    check(CASES);
}

const CASES: &[Case] = &[
    Case {
        says: "a list of pydantic models that contain models",
        source: r#"
from typing import List, Optional
from pydantic import BaseModel, Field

class Address(BaseModel):
    """Where somebody lives.

    Attributes:
        street: Street and number.
    """
    street: str
    city: str = Field("Berlin", description="The city.")

class Person(BaseModel):
    model_config = {"extra": "forbid"}
    name: str = Field(..., description="Full name.")
    age: Optional[int] = Field(None, description="In years.")
    home: Address = Field(description="Where they live.")
    others: list[Address] = Field(default_factory=list)
    nick: str = Field(alias="nickName", default="")
    _secret: int = 1

    def greet(self) -> str:
        return f"Hello {self.name}"

def invite(people: List[Person], host: Person) -> str:
    """Invite people.

    Args:
        people: Whom.
        host: By whom.
    """
    return ", ".join(p.name for p in people)
"#,
        name: "invite",
        description: "Invite people.",
        parameters: r#"{"type":"object","properties":{"people":{"type":"array","items":{"type":"object","properties":{"name":{"type":"string","description":"Full name."},"age":{"type":"integer","description":"In years."},"home":{"type":"object","properties":{"street":{"type":"string","description":"Street and number."},"city":{"type":"string","default":"Berlin","description":"The city."}},"required":["street"],"description":"Where they live."},"others":{"type":"array","items":{"type":"object","properties":{"street":{"type":"string","description":"Street and number."},"city":{"type":"string","default":"Berlin","description":"The city."}},"required":["street"],"description":"Where somebody lives."},"default":[]},"nickName":{"type":"string","default":""}},"required":["name","home"]},"description":"Whom."},"host":{"type":"object","properties":{"name":{"type":"string","description":"Full name."},"age":{"type":"integer","description":"In years."},"home":{"type":"object","properties":{"street":{"type":"string","description":"Street and number."},"city":{"type":"string","default":"Berlin","description":"The city."}},"required":["street"],"description":"Where they live."},"others":{"type":"array","items":{"type":"object","properties":{"street":{"type":"string","description":"Street and number."},"city":{"type":"string","default":"Berlin","description":"The city."}},"required":["street"],"description":"Where somebody lives."},"default":[]},"nickName":{"type":"string","default":""}},"required":["name","home"],"description":"By whom."}},"required":["people","host"]}"#,
    },
    Case {
        says: "a dataclass",
        source: r#"
import dataclasses
from typing import ClassVar

@dataclasses.dataclass(frozen=True)
class Point:
    x: float
    y: float = 0.0
    tags: list[str] = dataclasses.field(default_factory=list)
    count: ClassVar[int] = 0

def move(to: Point = None):
    """Move.

    Args:
        to: Where.
    """
"#,
        name: "move",
        description: "Move.",
        parameters: r#"{"type":"object","properties":{"to":{"type":"object","properties":{"x":{"type":"number"},"y":{"type":"number","default":0.0},"tags":{"type":"array","items":{"type":"string"},"default":[]}},"required":["x"],"description":"Where."}},"required":[]}"#,
    },
    Case {
        says: "a typed dictionary with keys that may be missing",
        source: r#"
from typing import TypedDict, NotRequired, Required

class Movie(TypedDict):
    title: str
    year: NotRequired[int]

class Filter(TypedDict, total=False):
    genre: Required[str]
    rating: float

def find(movie: Movie, filter: Filter):
    """Find.

    Args:
        movie: Which.
        filter: How.
    """
"#,
        name: "find",
        description: "Find.",
        parameters: r#"{"type":"object","properties":{"movie":{"type":"object","properties":{"title":{"type":"string"},"year":{"type":"integer"}},"required":["title"],"description":"Which."},"filter":{"type":"object","properties":{"genre":{"type":"string"},"rating":{"type":"number"}},"required":["genre"],"description":"How."}},"required":["movie","filter"]}"#,
    },
    Case {
        says: "fields that are inherited, and one that is changed",
        source: r#"
import pydantic

class Base(pydantic.BaseModel):
    id: str
    size: int

class Item(Base):
    size: int = 3
    colour: "Colour"

def store(item: Item):
    """Store.

    Args:
        item: What.
    """

from enum import StrEnum
class Colour(StrEnum):
    RED = "red"
"#,
        name: "store",
        description: "Store.",
        parameters: r#"{"type":"object","properties":{"item":{"type":"object","properties":{"id":{"type":"string"},"size":{"type":"integer","default":3},"colour":{"type":"string","enum":["red"]}},"required":["id","colour"],"description":"What."}},"required":["item"]}"#,
    },
    Case {
        says: "parameters that `Annotated` and `Field` describe",
        source: r#"
from typing import Annotated
from pydantic import Field

def search(
    query: Annotated[str, Field(description="What to look for.")],
    limit: Annotated[int, "How many."] = 5,
    page: int = Field(1, description="Which page."),
):
    """Search."""
"#,
        name: "search",
        description: "Search.",
        parameters: r#"{"type":"object","properties":{"query":{"type":"string","description":"What to look for."},"limit":{"type":"integer","default":5,"description":"How many."},"page":{"type":"integer","default":1,"description":"Which page."}},"required":["query"]}"#,
    },
];

#[test]
fn a_field_without_schema_is_named_with_its_line_and_class() {
    let above = "class Item(BaseModel):\n    name: str\n    extra: dict[str, int]\n";
    assert_eq!(
        hint(above, "list[Item]").unwrap_err().to_string(),
        "line 3: field `extra` of class `Item` has the type `dict[str, int]`, whose keys a model cannot be told; write plain \
         `dict`, or a pydantic model that names the keys"
    );
}

#[test]
fn classes_that_contain_one_another_are_refused() {
    let above = "class A(BaseModel):\n    b: 'B'\nclass B(BaseModel):\n    a: list[A]\n";
    assert_eq!(
        hint(above, "A").unwrap_err().to_string(),
        "line 4: field `a` of class `B` has the type `A`, a class that contains itself; a schema must end, so write out the \
         levels that are needed"
    );
}
