//! The targets over seeds, and over what is made from these.

use super::*;

#[path = "../../../fuzz/driver.rs"]
mod driver;

#[test]
fn the_events_of_a_stream_do_not_depend_on_how_it_arrives() {
    let long = format!("data: {}\n\n", "x".repeat(LIMIT - 7));
    let streams = [
        "data: {\"choices\":[{\"delta\":{\"content\":\"Hé\"}}]}\n\ndata: [DONE]\n\n",
        "event: message_start\r\ndata: {\"type\":\"message_start\"}\r\n\r\nevent: ping\r\ndata:\r\n\r\n",
        ": comment\rid: 7\rretry: 3\rdata: a\rdata:  b\r\r",
        "\u{feff}data: after a mark\n\ndata",
        "event: \nevent: twice\ndata\n\ndata:no space\n",
        "data: 😀\n\n\n\nevent: without data\n\n",
        &long,
        "",
    ];
    let cuts = streams.iter().zip([0, 1, 2, 3, 5, 30, 255, 9]);
    let seeds = cuts.map(|(stream, cut)| [&[cut], stream.as_bytes()].concat()).collect();
    driver::run("sse", seeds, sse);
}
