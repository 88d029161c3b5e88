"""Runs one call of one tool: reads the job from its channel, calls the function, writes the answer, and ends.

It is started before there is a call and used for one only. The channel is descriptor 0 at the start; it is moved out
of the tool's way at once, and what the tool prints goes elsewhere, so that nothing printed can pass for an answer.
Works from Python 3.8 on and needs nothing outside the standard library.
"""
import os

CHANNEL = os.dup(0)
NOTHING = os.open(os.devnull, os.O_RDONLY)
os.dup2(NOTHING, 0)
os.closerange(3, CHANNEL)
os.closerange(CHANNEL + 1, 4096)

import ast, inspect, json, linecache, struct, sys, traceback, types, typing, zlib

HEADER = struct.Struct("<4s8sII")
MAGIC = b"RTLD"
ERROR_CHARS = 1000
TRACEBACK_CHARS = 20_000


def send(tag, payload, write=os.write, check=zlib.crc32, pack=HEADER.pack):
    """Sends a frame. What it needs is bound here: a tool may change the modules that it is from."""
    data = pack(MAGIC, tag, len(payload), check(tag + payload)) + payload
    while data:
        data = data[write(CHANNEL, data):]


def read_exactly(size):
    parts = []
    while size:
        part = os.read(CHANNEL, min(size, 1 << 20))
        if not part:
            os._exit(0)
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def read_job():
    magic, tag, size, check = HEADER.unpack(read_exactly(HEADER.size))
    payload = read_exactly(size)
    if magic != MAGIC or zlib.crc32(tag + payload) != check:
        os._exit(70)
    return tag, json.loads(payload)


class State:
    """What a tool may look at and not change: attributes, items, and blocks by their label."""

    __slots__ = ("_held",)

    def __init__(self, held):
        object.__setattr__(self, "_held", held)

    def __getattr__(self, name):
        try:
            return frozen(self._held[name])
        except KeyError:
            raise AttributeError("agent_state has no attribute %r" % name) from None

    def __getitem__(self, name):
        return frozen(self._held[name])

    def __setattr__(self, name, value):
        raise AttributeError("agent_state is read-only in a tool")

    __delattr__ = __setitem__ = __delitem__ = lambda self, *rest: State.__setattr__(self, "", None)

    def __contains__(self, name):
        return name in self._held

    def __iter__(self):
        return iter(self._held)

    def __len__(self):
        return len(self._held)

    def __repr__(self):
        return "State(%r)" % (self._held,)

    def get(self, name, default=None):
        return frozen(self._held.get(name, default))

    def get_block(self, label):
        for block in self._held.get("blocks") or []:
            if block.get("label") == label:
                return frozen(block)
        raise KeyError("no block is labelled %r" % label)

    def list_block_labels(self):
        return [block.get("label") for block in self._held.get("blocks") or []]

    def model_dump(self, **_):
        return json.loads(json.dumps(self._held))


def frozen(value):
    if isinstance(value, dict):
        return State(value)
    if isinstance(value, list):
        return tuple(frozen(item) for item in value)
    return value


def client_of_letta():
    if not os.environ.get("LETTA_API_KEY"):
        return None
    try:
        from letta_client import Letta
    except Exception:
        return None
    base = os.environ.get("LETTA_BASE_URL")
    for name in ("api_key", "token"):
        try:
            return Letta(**dict({name: os.environ["LETTA_API_KEY"]}, **({"base_url": base} if base else {})))
        except TypeError:
            continue
        except Exception:
            return None
    return None


TRUE, FALSE = ("true", "1", "yes", "on"), ("false", "0", "no", "off")


def literal(text):
    try:
        return json.loads(text)
    except ValueError:
        return ast.literal_eval(text)


def arms(hint):
    return [arm for arm in typing.get_args(hint)]


def is_union(hint):
    return typing.get_origin(hint) is typing.Union or type(hint).__name__ == "UnionType"


def coerce(value, hint):
    """`value` as the annotation wants it; a value that cannot be made so raises ValueError or TypeError."""
    if hint is inspect.Parameter.empty or hint is typing.Any or hint is None:
        return value
    if is_union(hint):
        return coerce_to_one_of(value, arms(hint))
    origin = typing.get_origin(hint)
    if origin is typing.Literal:
        return next((arm for arm in arms(hint) if arm == value or str(arm) == value), value)
    if origin is not None and type(origin) is type and origin in (list, set, frozenset, tuple, dict):
        return coerce_items(value, origin, arms(hint))
    if not isinstance(hint, type):
        return value
    if hint is bool and isinstance(value, str):
        return coerce_bool(value)
    if hint is int and isinstance(value, float) and value.is_integer():
        return int(value)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if hint in (int, float) and isinstance(value, str):
        return hint(value.strip())
    if hint in (list, dict, set, frozenset, tuple):
        return coerce_items(value, hint, [])
    if hint is str or isinstance(value, hint):
        return value
    return coerce_model(value, hint)


def coerce_to_one_of(value, hints):
    if value is None:
        return None
    if type(None) in hints and isinstance(value, str) and value.lower() in ("none", "null") and str not in hints:
        return None
    for hint in hints:
        if isinstance(hint, type) and type(value) is hint:
            return value
    failure = None
    for hint in hints:
        if hint is not type(None):
            try:
                return coerce(value, hint)
            except (ValueError, TypeError) as error:
                failure = error
    raise failure or TypeError("no form of it is allowed")


def coerce_bool(value):
    word = value.strip().lower()
    if word in TRUE:
        return True
    if word in FALSE:
        return False
    raise ValueError("%r is neither true nor false" % value)


def coerce_items(value, kind, hints):
    if isinstance(value, str):
        value = literal(value)
    if kind is dict:
        if not isinstance(value, dict):
            raise TypeError("%s is no dict" % type(value).__name__)
        if len(hints) != 2:
            return value
        return {coerce(key, hints[0]): coerce(item, hints[1]) for key, item in value.items()}
    if not isinstance(value, (list, tuple, set, frozenset)):
        raise TypeError("%s is no %s" % (type(value).__name__, kind.__name__))
    if kind is tuple and hints and hints[-1] is not Ellipsis and len(hints) == len(value):
        return tuple(coerce(item, hint) for item, hint in zip(value, hints))
    hint = hints[0] if hints else typing.Any
    return kind(coerce(item, hint) for item in value)


def coerce_model(value, hint):
    if isinstance(value, str) and (hasattr(hint, "model_validate") or hasattr(hint, "parse_obj")):
        value = literal(value)
    if hasattr(hint, "model_validate"):
        return hint.model_validate(value)
    if hasattr(hint, "parse_obj"):
        return hint.parse_obj(value)
    if hasattr(hint, "__members__") and isinstance(value, str):
        return hint.__members__.get(value) or hint(value)
    return value


def may_be_none(hint):
    return hint is not None and is_union(hint) and type(None) in arms(hint)


def arguments_for(function, job):
    given = dict(job["arguments"])
    parameters = inspect.signature(function).parameters
    try:
        hints = typing.get_type_hints(function)
    except Exception:
        hints = {name: one.annotation for name, one in parameters.items() if not isinstance(one.annotation, str)}
    for name in given:
        if name in hints:
            try:
                given[name] = coerce(given[name], hints[name])
            except (ValueError, TypeError, SyntaxError) as error:
                raise TypeError("argument %s does not fit its annotation: %s" % (name, error)) from None
    for name, one in parameters.items():
        # The schema asks for no argument that may be None, so a model may leave it out.
        if name not in given and one.default is inspect.Parameter.empty and may_be_none(hints.get(name)):
            given[name] = None
    if "agent_id" in parameters:
        given["agent_id"] = job.get("agent_id")
    if "agent_state" in parameters:
        given["agent_state"] = frozen(job.get("agent_state"))
    return given


def prepared():
    """The module that a source becomes, with what every tool finds in scope."""
    module = types.ModuleType("__tool__")
    exec("from typing import *", module.__dict__)
    sys.modules["__tool__"] = module
    return module


def load(module, job):
    module.__dict__["client"] = client_of_letta()
    # An editor's mark at the start is no Python.
    source = job["source"].lstrip("\ufeff")
    linecache.cache["<tool>"] = (len(source), None, source.splitlines(True), "<tool>")
    exec(compile(source, "<tool>", "exec", dont_inherit=True), module.__dict__)
    function = module.__dict__.get(job["function"])
    if not callable(function):
        raise NameError("the source defines no function named %s" % job["function"])
    return function


def call(module, job):
    function = load(module, job)
    result = function(**arguments_for(function, job))
    if inspect.isawaitable(result):
        import asyncio

        async def wait():
            return await result

        result = asyncio.run(wait())
    return result


def dumped(value):
    """The value with pydantic models made plain, and whether there were any."""
    if hasattr(value, "model_dump") and not isinstance(value, type):
        return value.model_dump(mode="json"), True
    if hasattr(value, "dict") and hasattr(value, "__fields__") and not isinstance(value, type):
        return value.dict(), True
    if isinstance(value, (list, tuple)):
        items = [dumped(item) for item in value]
        if any(found for _, found in items):
            return [item for item, _ in items], True
    if isinstance(value, dict):
        items = {key: dumped(item) for key, item in value.items()}
        return {key: item for key, (item, _) in items.items()}, True
    return value, False


def text_of(value):
    if isinstance(value, str):
        return str(value)
    try:
        plain, structured = dumped(value)
        if structured:
            return json.dumps(plain, default=str, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError):
        pass
    return str(value)


def failure_of(job, error):
    text = str(error) or repr(error)
    return ("Error executing function %s: %s: %s" % (job["function"], type(error).__name__, text))[:ERROR_CHARS]


def run(module, job):
    kept = {name: os.environ[name] for name in ("HOME", "LANG", "PATH", "TMPDIR") if name in os.environ}
    if sys.prefix != sys.base_prefix:
        kept["PATH"] = os.path.join(sys.prefix, "bin") + ":" + kept.get("PATH", "")
    os.environ.clear()
    os.environ.update(kept)
    os.environ.update(job["env"])
    try:
        return "returned", text_of(call(module, job))
    except BaseException as error:
        try:
            message = failure_of(job, error)
        except BaseException:
            message = "Error executing function %s: %s" % (job["function"], type(error).__name__)
        try:
            shown = traceback.TracebackException.from_exception(error)
            while shown.stack and shown.stack[0].filename != "<tool>":
                shown.stack.pop(0)
            written = "".join(shown.format())
            if len(written) > TRACEBACK_CHARS:
                half = TRACEBACK_CHARS // 2
                written = written[:half] + "\n[...]\n" + written[-half:]
            sys.stderr.write(written)
        except BaseException:
            pass
        return "raised", message


def main():
    leave, write, as_json = os._exit, send, json.dumps
    module = prepared()
    write(b"ready\0\0\0", b"")
    tag, job = read_job()
    status, text = run(module, job)
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except BaseException:
            pass
    kept = text[: job["text_chars"]].encode("utf-8", "replace").decode()
    write(tag, as_json({"status": status, "text": kept, "chars": len(text)}).encode())
    leave(0)


main()
