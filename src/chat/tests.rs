//! Whole conversations against a small fake server over a real socket.

mod fake;

use std::sync::atomic::Ordering;

use serde_json::json;

use self::fake::{Fake, HANG, ID, agent, done, ping, said, stopped};
use super::*;

/// What a conversation came to: its end, standard output, standard error.
struct Came {
    ending: Result<Ending, ChatError>,
    answers: String,
    asides: String,
}

struct Talk {
    conversation: Conversation,
    input: &'static str,
    interactive: bool,
}

impl Talk {
    fn once(url: &str, input: &'static str) -> Self {
        let conversation = Conversation {
            url: url.to_owned(),
            password: None,
            agent: DEFAULT_AGENT.to_owned(),
            model: None,
        };
        Self { conversation, input, interactive: false }
    }

    fn at_the_prompt(url: &str, input: &'static str) -> Self {
        Self { interactive: true, ..Self::once(url, input) }
    }

    async fn run(self) -> Came {
        let (_sender, mut interrupts) = mpsc::channel(4);
        self.run_with(&mut interrupts).await
    }

    async fn run_with(self, interrupts: &mut mpsc::Receiver<()>) -> Came {
        let (mut answers, mut asides) = (Vec::new(), Vec::new());
        let mut terminal = Terminal {
            input: self.input.as_bytes(),
            answers: &mut answers,
            asides: &mut asides,
            interrupts,
            style: Style { color: false },
            interactive: self.interactive,
        };
        let ending = talk(&self.conversation, &mut terminal).await;
        Came {
            ending,
            answers: String::from_utf8(answers).unwrap(),
            asides: String::from_utf8(asides).unwrap(),
        }
    }
}

fn plain_answer() -> Fake {
    let thinking =
        json!({ "message_type": "reasoning_message", "id": "message-1", "reasoning": "hm" })
            .to_string();
    Fake::answering([ping(), thinking, said("Hel"), said("lo."), stopped("end_turn"), done()])
}

#[tokio::test]
async fn one_message_gives_the_answer_and_nothing_else() {
    let (fake, url) = plain_answer().start().await;
    let came = Talk::once(&url, "  hello\nthere \n").run().await;
    assert_eq!((came.answers.as_str(), came.asides.as_str()), ("Hello.\n", ""));
    assert_eq!(came.ending.unwrap(), Ending::Done);
    let body = fake.body_of(&format!("POST /v1/agents/{ID}/messages/stream"));
    assert_eq!(body["messages"], json!([{ "role": "user", "content": "hello\nthere" }]));
    assert_eq!(body["stream_tokens"], json!(true));
}

#[tokio::test]
async fn a_failed_run_is_a_failed_program() {
    let error =
        json!({ "message_type": "error_message", "message": "the model timed out", "detail": "" })
            .to_string();
    for (script, said) in [
        (vec![ping(), stopped("llm_api_error"), error, done()], "error: the model timed out\n"),
        (vec![ping(), stopped("max_tokens_exceeded"), done()], "(stopped: max_tokens_exceeded)\n"),
        (
            vec![ping(), said("Hel")],
            "error: the server closed the stream before the answer was complete\n",
        ),
    ] {
        let (_, url) = Fake::answering(script).start().await;
        let came = Talk::once(&url, "hello").run().await;
        assert_eq!(came.ending.unwrap(), Ending::Failed);
        assert!(came.asides.ends_with(said), "{}", came.asides);
    }
}

#[tokio::test]
async fn an_empty_input_says_nothing_to_anybody() {
    let (fake, url) = plain_answer().start().await;
    assert!(matches!(Talk::once(&url, " \n").run().await.ending, Err(ChatError::NothingToSay)));
    assert_eq!(fake.heard(), Vec::<String>::new());
}

#[tokio::test]
async fn the_prompt_answers_line_by_line_until_the_input_ends() {
    let (fake, url) = plain_answer().start().await;
    let came = Talk::at_the_prompt(&url, "one\n\ntwo").run().await;
    assert_eq!(came.ending.unwrap(), Ending::Done);
    assert_eq!(came.answers, "Hello.\nHello.\n");
    assert!(
        came.asides.contains("talking to default (retold/rehearsal) at http://127.0.0.1"),
        "{}",
        came.asides
    );
    assert!(came.asides.contains("you> thinking: hm\n"), "{}", came.asides);
    let messages = fake.heard().iter().filter(|heard| heard.ends_with("/messages/stream")).count();
    assert_eq!(messages, 2);
}

#[tokio::test]
async fn a_failed_answer_does_not_end_the_conversation() {
    let (_, url) = Fake::answering(["nonsense".to_owned()]).start().await;
    let came = Talk::at_the_prompt(&url, "one\ntwo\n").run().await;
    assert_eq!(came.ending.unwrap(), Ending::Done);
    assert_eq!(
        came.asides.matches("error: the server's answer is not what").count(),
        2,
        "{}",
        came.asides
    );
}

#[tokio::test]
async fn ctrl_c_cancels_the_run_and_the_conversation_goes_on() {
    let script = [ping(), said("Hel"), HANG.to_owned(), stopped("cancelled"), done()];
    let (fake, url) = Fake::answering(script).start().await;
    let (sender, mut interrupts) = mpsc::channel(4);
    let press = async {
        while !fake.heard().iter().any(|heard| heard.ends_with("/stream")) {
            tokio::task::yield_now().await;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        sender.send(()).await.unwrap();
    };
    let (came, ()) =
        tokio::join!(Talk::at_the_prompt(&url, "one\n").run_with(&mut interrupts), press);
    assert_eq!(came.ending.unwrap(), Ending::Done);
    assert_eq!(came.answers, "Hel\n");
    assert!(came.asides.contains("(cancelled)\n"), "{}", came.asides);
    assert_eq!(
        fake.body_of(&format!("POST /v1/agents/{ID}/messages/cancel")),
        json!({ "run_ids": ["run-7"] })
    );
}

#[tokio::test]
async fn ctrl_c_twice_leaves_even_if_the_server_does_not_react() {
    let fake = Fake { ignores_cancel: true, ..Fake::answering([HANG.to_owned()]) };
    let (fake, url) = fake.start().await;
    let (sender, mut interrupts) = mpsc::channel(4);
    let press = async {
        sender.send(()).await.unwrap();
        while !fake.was_cancelled.load(Ordering::SeqCst) {
            tokio::task::yield_now().await;
        }
        sender.send(()).await.unwrap();
    };
    // One turn by itself: at the prompt the first press would already leave.
    let (came, ()) = tokio::join!(
        async {
            let (mut answers, mut asides) = (Vec::new(), Vec::new());
            let mut terminal = Terminal {
                input: tokio::io::empty(),
                answers: &mut answers,
                asides: &mut asides,
                interrupts: &mut interrupts,
                style: Style { color: false },
                interactive: true,
            };
            let client = Client::new(&url, None).unwrap();
            let agent = client.agent(ID).await.unwrap().unwrap();
            turn::take(&client, &agent, "one", &mut terminal, false).await
        },
        press
    );
    assert_eq!(came.unwrap(), turn::End::Left);
    // No ping came, so no run is named: the server cancels what the agent is doing.
    assert_eq!(fake.body_of(&format!("POST /v1/agents/{ID}/messages/cancel")), json!({}));
}

#[tokio::test]
async fn ctrl_c_at_the_prompt_leaves() {
    let (_, url) = plain_answer().start().await;
    let (sender, mut interrupts) = mpsc::channel(4);
    let (_open, input) = tokio::io::duplex(8);
    let (mut answers, mut asides) = (Vec::new(), Vec::new());
    let mut terminal = Terminal {
        input: tokio::io::BufReader::new(input),
        answers: &mut answers,
        asides: &mut asides,
        interrupts: &mut interrupts,
        style: Style { color: false },
        interactive: true,
    };
    sender.send(()).await.unwrap();
    let conversation = Talk::once(&url, "").conversation;
    assert_eq!(talk(&conversation, &mut terminal).await.unwrap(), Ending::Interrupted);
}

#[tokio::test]
async fn a_name_that_nobody_has_is_created_with_the_usual_blocks() {
    let (fake, url) = plain_answer().start().await;
    let mut talk = Talk::once(&url, "hello");
    talk.conversation.agent = "Ada L.".to_owned();
    assert_eq!(talk.run().await.ending.unwrap(), Ending::Done);
    let body = fake.body_of("POST /v1/agents/");
    assert_eq!(body["name"], "Ada L.");
    let labels: Vec<_> =
        body["memory_blocks"].as_array().unwrap().iter().map(|block| &block["label"]).collect();
    assert_eq!(labels, ["human", "persona"]);
    assert_eq!(body.get("model"), None);
    assert!(fake.heard()[0].starts_with("GET /v1/agents/?name=Ada+L.&"), "{:?}", fake.heard());
}

#[tokio::test]
async fn an_id_must_exist() {
    let (fake, url) = plain_answer().start().await;
    let mut talk = Talk::once(&url, "hello");
    talk.conversation.agent = "agent-00000000-0000-4000-8000-000000000000".to_owned();
    let error = talk.run().await.ending.unwrap_err().to_string();
    assert_eq!(error, "there is no agent agent-00000000-0000-4000-8000-000000000000");
    assert!(!fake.heard().iter().any(|heard| heard.starts_with("POST")));
}

#[tokio::test]
async fn of_several_agents_of_a_name_the_newest_is_taken_and_said() {
    let older = agent("agent-00000000-0000-4000-8000-000000000001", "default");
    let (fake, url) =
        Fake { agents: vec![agent(ID, "default"), older], ..plain_answer() }.start().await;
    let came = Talk::at_the_prompt(&url, "hello\n").run().await;
    assert!(
        came.asides
            .contains(&format!("several agents are called default; this is the newest, {ID}"))
    );
    assert!(fake.heard().contains(&format!("POST /v1/agents/{ID}/messages/stream")));
}

#[tokio::test]
async fn another_model_is_set_and_the_same_one_is_not() {
    let (fake, url) = plain_answer().start().await;
    for model in ["retold/rehearsal", "openai/a"] {
        let mut talk = Talk::once(&url, "hello");
        talk.conversation.model = Some(model.to_owned());
        talk.run().await.ending.unwrap();
    }
    let changes: Vec<_> =
        fake.heard().into_iter().filter(|heard| heard.starts_with("PATCH")).collect();
    assert_eq!(changes, [format!("PATCH /v1/agents/{ID}")]);
    assert_eq!(fake.body_of(&changes[0]), json!({ "model": "openai/a" }));
}

#[tokio::test]
async fn without_a_default_model_the_models_are_listed() {
    let (_, url) =
        Fake { agents: vec![], has_default_model: false, ..plain_answer() }.start().await;
    let error = Talk::once(&url, "hello").run().await.ending.unwrap_err().to_string();
    assert_eq!(error, "the agent needs a model: give --model HANDLE; the server has openai/a");
}

#[tokio::test]
async fn a_password_is_asked_for_by_name_and_used_when_there_is_one() {
    let (_, url) = Fake { password: Some("sesame"), ..plain_answer() }.start().await;
    let error = Talk::once(&url, "hello").run().await.ending.unwrap_err().to_string();
    assert!(error.contains("RETOLD_PASSWORD"), "{error}");
    let mut talk = Talk::once(&format!("{url}/v1/"), "hello");
    talk.conversation.password = Some(Secret::new("sesame"));
    assert_eq!(talk.run().await.answers, "Hello.\n");
}

#[tokio::test]
async fn a_server_that_is_not_there_is_said_plainly() {
    let error =
        Talk::once("http://127.0.0.1:1", "hello").run().await.ending.unwrap_err().to_string();
    assert!(error.starts_with("cannot reach the server at http://127.0.0.1:1: "), "{error}");
    assert!(!is_server("http://127.0.0.1:1", Duration::from_millis(500)).await);
}

#[tokio::test]
async fn a_health_answer_makes_a_server() {
    let (_, url) = Fake { password: Some("sesame"), ..plain_answer() }.start().await;
    assert!(is_server(&url, Duration::from_secs(5)).await);
}
