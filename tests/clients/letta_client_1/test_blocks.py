"""Blocks on their own: create, retrieve, update, list over pages, delete."""

import letta_client
import pytest

from support import first, fresh, is_id


def test_a_block_from_creation_to_deletion(client):
    block = client.blocks.create(
        label="notes", value="one", limit=50, description="about", metadata={"k": "v"}, tags=["t"]
    )
    assert is_id("block", block.id)
    assert (block.value, block.limit, block.description) == ("one", 50, "about")
    assert (block.metadata, block.tags, block.read_only) == ({"k": "v"}, ["t"], False)
    changed = client.blocks.update(block.id, value="two")
    assert (changed.value, changed.label, changed.limit) == ("two", "notes", 50)
    assert client.blocks.retrieve(block.id).value == "two"
    assert client.blocks.delete(block.id) is None
    with pytest.raises(letta_client.NotFoundError):
        client.blocks.retrieve(block.id)


def test_a_value_over_the_limit_is_refused_whole(client):
    block = client.blocks.create(label="tight", value="12345", limit=5)
    with pytest.raises(letta_client.UnprocessableEntityError):
        client.blocks.update(block.id, value="123456")
    assert client.blocks.retrieve(block.id).value == "12345"
    with pytest.raises(letta_client.UnprocessableEntityError):
        client.blocks.create(label="tight", value="123456", limit=5)
    client.blocks.delete(block.id)


def test_iteration_gives_each_block_once_and_ends(client):
    label = fresh("label_")
    made = [client.blocks.create(label=label, value=str(n)).id for n in range(7)]
    assert [b.id for b in first(client.blocks.list(label=label, limit=2), 20)] == made
    newest_first = first(client.blocks.list(label=label, limit=3, order="desc"), 20)
    assert [b.id for b in newest_first] == made[::-1]
    assert [b.id for b in client.blocks.list(label=label, value_search="4").items] == [made[4]]
    assert len(client.blocks.list(label_search=label[2:]).items) == 7
    for block_id in made:
        client.blocks.delete(block_id)
    assert client.blocks.list(label=label).items == []
