//! The targets over seeds that are written here, and over what is made from these.

use serde_json::json;

use super::*;
use crate::cage::frame::{ENDED, READY, encode};

#[path = "../../../fuzz/driver.rs"]
mod driver;
mod sources;

fn owned<'t>(texts: impl IntoIterator<Item = &'t str>) -> Vec<Vec<u8>> {
    texts.into_iter().map(|text| text.as_bytes().to_vec()).collect()
}

#[test]
fn a_source_gives_a_schema_that_every_provider_takes_or_an_error_that_names_a_line() {
    driver::run_with(8_000, "tool_source", owned(sources::SHORT.iter().copied()), tool_source);
}

#[test]
fn a_source_however_long_and_nested_has_its_schema_or_error_soon() {
    for source in sources::long() {
        tool_source(source.as_bytes());
    }
}

#[test]
fn a_schema_and_arguments_whatever_they_say_have_one_answer() {
    driver::run("tool_arguments", owned(ARGUMENTS.iter().copied()), tool_arguments);
}

/// A schema and arguments each.
const ARGUMENTS: &[&str] = &[
    r#"{"name":"f","description":"Does.","parameters":{"type":"object","required":["city"],"properties":{"city":{"type":"string"},"days":{"type":"integer"},"unit":{"type":"string","enum":["c","f"]},"at":{"type":"array","prefixItems":[{"type":"number"},{"type":"string"}],"minItems":2,"maxItems":2}}}}
{"city":"Rome","days":3,"unit":"c","at":[1.5,"a"]}"#,
    r##"{"type":"object","$defs":{"Unit":{"enum":["kg","g"],"title":"Unit","type":"string"},"Entry":{"description":"One.","type":"object","required":["title"],"properties":{"title":{"type":"string"},"unit":{"$ref":"#/$defs/Unit","default":"kg"},"note":{"anyOf":[{"type":"string"},{"type":"null"}],"default":null}}}},"properties":{"x":{"$ref":"#/$defs/Entry"},"y":{"type":"array","items":{"$ref":"#/$defs/Entry"}},"z":{"allOf":[{"$ref":"#/$defs/Unit"}]}},"required":["x"]}
{"x":{"title":"a","note":null},"y":[{"title":"b","unit":"g"}],"z":"kg"}"##,
    r##"{"type":"object","properties":{"x":{"$ref":"#/$defs/A"}},"$defs":{"A":{"anyOf":[{"type":"null"},{"oneOf":[{"$ref":"#/$defs/B"},{"type":"string"}]}]},"B":{"allOf":[{"$ref":"#/$defs/C"},true]},"C":{"const":[1]}}}
{"x":1}"##,
    r##"{"type":"object","$ref":"#/$defs/A","properties":{"x":true},"$defs":{"A":{"required":["y"],"properties":5,"type":"array"}}}
{"x":[]}"##,
    r#"{"name":"f","parameters":{"type":"object","properties":null,"required":null,"additionalProperties":{"type":["string","null"]}},"strict":true}
{"a":null,"b":"c"}"#,
    r#"{"type":"object","properties":{"a":{"const":{"k":[1]}},"b":{"type":[]},"c":{"items":[{"type":"string"}],"maxItems":1}},"required":["a","a"],"additionalProperties":true}
{"a":{"k":[1.0]},"b":-0.0,"c":["x","y"],"\u0000\ud83d\ude00":1e308}"#,
    r##"{"type":"object","properties":{"a":{"$ref":"#"},"b":{"$ref":"#/properties/a"},"c":{"$ref":"x"}}}
{"a":{"a":{"b":{"a":{}}}},"c":1}"##,
    "{}\n[]",
    "[{\"name\":\"\"},18446744073709551615]\n{\"\":{}}",
];

#[test]
fn what_a_short_schema_can_unfold_into_is_bounded() {
    let many = |count: usize, of: &dyn Fn(usize) -> String| {
        (0..count).map(of).collect::<Vec<_>>().join(",")
    };
    let long = "t".repeat(20_000);
    let refers = many(2_000, &|n| format!(r##""p{n}":{{"$ref":"#/$defs/A"}}"##));
    let bodies = [
        format!(r#""items":["{long}"]"#),
        format!(r#""default":{{"{long}":1}}"#),
        format!(r#""description":"{long}""#),
        format!(r#""{long}":true"#),
        format!(r#""properties":{{{}}}"#, many(2_000, &|n| format!(r#""q{n}":true"#))),
        format!(r#""anyOf":[{}]"#, many(5_000, &|_| "1".to_owned())),
        many(2_000, &|n| format!(r#""k{n}":{n}"#)),
        format!(r##""$ref":"#/$defs/{long}""##),
    ];
    let given = many(2_000, &|n| format!(r#""p{n}":"{n}""#));
    for body in bodies {
        let schema = format!(
            r#"{{"type":"object","properties":{{{refers}}},"$defs":{{"{long}":{{}},"A":{{{body}}}}}}}"#
        );
        tool_arguments(format!("{schema}\n{{{given}}}").as_bytes());
    }
}

#[test]
fn what_a_check_of_arguments_takes_is_bounded() {
    let many = |count: usize, of: &str| vec![of; count].join(",");
    let long = "t".repeat(20_000);
    let chosen = format!(r##"{{"anyOf":[{}]}}"##, many(3_000, r##"{"$ref":"#/$defs/A"}"##));
    let bodies = [
        format!(r#""enum":["{long}"]"#),
        format!(r#""enum":[{}]"#, many(10_000, "1")),
        format!(r#""const":"{long}""#),
        format!(r#""type":[{}]"#, many(10_000, r#""null""#)),
        format!(r#""required":[{}]"#, many(10_000, r#""y""#)),
        format!(r#""properties":{{"{long}":{{}}}},"additionalProperties":false"#),
        format!(r##""$ref":"#/$defs/{long}""##),
    ];
    let choices = r##"{"$ref":"#/$defs/A"},{"$ref":"#/$defs/A"}"##;
    let endless = format!(
        r##"{{"type":"object","properties":{{"x":{{"$ref":"#/$defs/A"}}}},"$defs":{{"A":{{"anyOf":[{{"allOf":[{choices}]}},{{"oneOf":[{choices}]}}]}}}}}}"##
    );
    tool_arguments(format!("{endless}\n{{\"x\":1}}").as_bytes());
    for (body, value) in bodies.iter().flat_map(|body| [(body, "0"), (body, r#"{"y":0}"#)]) {
        let schema = format!(
            r#"{{"type":"object","properties":{{"x":{{"items":{chosen}}}}},"$defs":{{"{long}":{{"const":1}},"A":{{{body}}}}}}}"#
        );
        let arguments = format!(r#"{{"x":[{}]}}"#, many(3_000, value));
        tool_arguments(format!("{schema}\n{arguments}").as_bytes());
    }
}

#[test]
fn the_frames_of_a_result_do_not_depend_on_how_they_arrive_and_mean_what_they_say() {
    let returned = json!({"status": "returned", "text": "Hé\u{0}", "chars": 3}).to_string();
    let raised = json!({"status": "raised", "text": "ValueError", "chars": 0}).to_string();
    let endings = ["\"Memory\"", "{\"Exited\":-1}", "{\"Signalled\":24}", "{\"Garbled\":\"x\"}"];
    let mut streams = vec![
        encode(*b"tag of 1", returned.as_bytes()),
        [encode(READY, b"1234"), encode(*b"tag of 1", raised.as_bytes())].concat(),
        encode([0; 8], &[b'x'; 1025]),
        b"RTLDtag of 1\xff\xff\xff\xff\0\0\0\0".to_vec(),
        returned.into_bytes(),
        br#"{"status":"returned","text":1,"chars":18446744073709551616}"#.to_vec(),
    ];
    streams.extend(endings.iter().map(|ending| encode(ENDED, ending.as_bytes())));
    streams.push(streams.concat());
    let seeds = streams.iter().map(|stream| [&[5], &stream[..]].concat()).collect();
    driver::run("result_channel", seeds, result_channel);
}

#[test]
fn an_address_that_is_let_through_leads_where_everybody_can_reach_it_or_where_it_was_opened() {
    driver::run("egress", owned(ADDRESSES.iter().copied()), egress);
}

/// Addresses, some after a policy.
const ADDRESSES: &[&str] = &[
    "https://EXAMPLE.com:8443/a?b#c",
    "http://[2606:4700::1111]:443/",
    "http://8.8.8.8",
    "http://127.0.0.1/",
    "http://0x7f.1:80/",
    "http://017700000001/",
    "http://2130706433./",
    "http://127.0.0.1../",
    "http://[::ffff:10.0.0.1]/",
    "http://[64:ff9b::169.254.169.254]/",
    "http://[2002:a00:1::]/",
    "http://[2001:db8::1]:8080/",
    "http://user:pw@1.1.1.1\\@169.254.169.254/",
    "ht\ntp:\\\\１２７。０。０。１\\",
    "http://a.localhost./",
    "http://b\u{fc}cher.example/\u{e9}?\u{e9}",
    "http://%31%30.0.0.1/",
    "10.0.0.0/8,fd00::/8, localhost:8080,[::1]:80,127.0.0.1:9,MCP.Example.com.\nhttp://10.1.2.3/",
    "*\nhttp://[fe80::1]:1/",
    "127.0.0.1:9,::1\nhttp://0x7f000001:9/",
    "localhost:8080\nhttp://localhost.:8080/",
    "0.0.0.0/0,::/0,192.0.2.1,b\u{fc}cher.example:1\nhttps://[::2]/",
    "ftp://x/",
];

#[test]
fn the_events_of_an_mcp_server_do_not_depend_on_how_they_arrive() {
    let streams = [
        "\u{feff}: hello\r\nevent: endpoint\rdata: /m?x=1\n\nwhat: ever\nretry: 5\nid: 7\ndata: {\r\ndata:\"é\"}\r\n\r\n",
        "data\n\nid: 8\0\nid\nevent\n\nretry: -1\n\n",
        "event: message\ndata: 0123456789012345678901234567890123456789\ndata\n\n",
    ];
    let seeds = streams.iter().map(|stream| [&[3], stream.as_bytes()].concat()).collect();
    driver::run("mcp_events", seeds, mcp_events);
}

#[test]
fn an_answer_of_an_mcp_server_reaches_who_waits_for_it() {
    driver::run("mcp_messages", owned(MESSAGES.iter().copied()), mcp_messages);
}

/// Messages of servers, and what is in them.
const MESSAGES: &[&str] = &[
    r#"{"jsonrpc":"2.0","id":7,"result":{"content":[{"type":"text","text":"Hé"}],"isError":false}}"#,
    r#"{"jsonrpc":"2.0","id":"a","error":{"code":-32601,"message":"no such method","data":[1]}}"#,
    r#"{"jsonrpc":"2.0","id":8,"error":"no object"}"#,
    r#"{"jsonrpc":"2.0","id":0,"result":{"tools":[{"name":"t","inputSchema":{"type":"object"}}],"nextCursor":"c"}}"#,
    r#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#,
    r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#,
    r#"{"name":"t","title":"T","description":"Does.","inputSchema":{"type":"object","properties":{}},"outputSchema":{},"annotations":{"readOnlyHint":true},"_meta":{"k":1}}"#,
    r#"{"content":[{"type":"image","data":"AAAA","mimeType":"image/png"},{"type":"resource","resource":{"uri":"x:","blob":"AA=="}},{"type":"resource_link","uri":"x:","name":"n"}],"structuredContent":{"a":[1]},"isError":true}"#,
    "[1]",
];

#[test]
fn the_normal_form_of_an_address_is_no_longer_than_an_address_may_be() {
    for letter in ["a", "\u{e9}", " ", "\u{1f600}"] {
        for count in [1_000, 2_000, 2_700, 4_000, 8_100] {
            egress(format!("http://a.example/{}", letter.repeat(count)).as_bytes());
        }
    }
}
