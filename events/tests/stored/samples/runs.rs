//! Samples of what happens to runs, their steps and their calls.

use super::*;

pub(super) fn tools_called() -> Vec<agent::Event> {
    let intent = |call_id: &str, is_idempotent| run::Intent {
        call_id: text(call_id),
        tool: tool_id(1),
        is_idempotent,
        key: [7; 16],
    };
    let said = run::Said {
        message: message(Role::Assistant),
        cut_by_length: true,
        usage: usage(),
        prompt_hash: [9; 16],
        model_started_at: at(6),
        model_ns: 1_500_000,
    };
    let called = |said| {
        agent::Event::ToolsCalled(run::ToolsCalled {
            run: run_id(),
            step: step_id(),
            said,
            intents: vec![intent("call_1", false), intent("call_2", true)],
        })
    };
    vec![called(Some(said)), called(None)]
}

pub(super) fn calls_resolved() -> Vec<agent::Event> {
    use run::Resolution::{Cancelled, Client, Expired};
    let resolved = |(by, role)| {
        agent::Event::CallsResolved(run::CallsResolved {
            run: run_id(),
            step: step_id(),
            message: message(role),
            by,
        })
    };
    // The role of a message that waits has its sample here: those of other events are older than it.
    let samples = [(Client, Role::Tool), (Cancelled, Role::Tool), (Expired, Role::Approval)];
    samples.into_iter().map(resolved).collect()
}

pub(super) fn decisions() -> Vec<run::Decision> {
    let approval = |approve, reason: Option<&str>| run::Decision::Approval {
        call_id: text("call_1"),
        approve,
        reason: reason.map(text),
    };
    vec![
        approval(true, None),
        approval(false, Some("not on Sundays")),
        run::Decision::Returned(returned(ReturnStatus::Error)),
    ]
}

pub(super) fn asked_by() -> run::AskedBy {
    run::AskedBy { agent: agent_id(), run: run_id(), call: [7; 16], waits: true, depth: 2 }
}

pub(super) fn client_tools() -> Vec<run::ClientTool> {
    vec![run::ClientTool {
        name: text("look"),
        description: text("Looks."),
        parameters: json("{\"type\":\"object\"}"),
    }]
}

pub(super) fn returned(status: ReturnStatus) -> ToolReturn {
    ToolReturn {
        call_id: text("call_1"),
        name: text("look"),
        status,
        content: text("a tree"),
        stdout: vec![text("out")],
        stderr: vec![text("err")],
    }
}

pub(super) fn inputs() -> Vec<run::Input> {
    vec![run::Input {
        role: Role::User,
        content: parts(),
        name: Some(text("ann")),
        otid: text("otid-2"),
        sender: Some(text("agent-y")),
        tokens: 9,
    }]
}

/// A request with everything, and one with as little as can be.
pub(super) fn requests() -> Vec<run::Request> {
    let full = run::Request {
        run_type: text("send_message_streaming"),
        conversation: Some(conversation_id()),
        background: true,
        stream_tokens: true,
        max_steps: 50,
        use_assistant_message: true,
        assistant_message_tool_name: text("send_message"),
        assistant_message_tool_kwarg: text("message"),
        include_return_message_types: Some(vec![text("assistant_message")]),
        include_compaction_messages: true,
        override_model: Some(text("openai/gpt-4o")),
        override_system: Some(text("Be brief.")),
        callback_url: Some(text("https://example.com/done")),
        fingerprint: Some([7; 16]),
        metadata: Some(json("{\"k\":\"v\"}")),
    };
    let bare = run::Request {
        run_type: text("send_message"),
        conversation: None,
        background: false,
        stream_tokens: false,
        include_return_message_types: None,
        include_compaction_messages: false,
        override_model: None,
        override_system: None,
        callback_url: None,
        fingerprint: None,
        metadata: None,
        ..full.clone()
    };
    vec![full, bare]
}

pub(super) fn usage() -> run::Usage {
    run::Usage {
        prompt_tokens: 1000,
        completion_tokens: 200,
        cached_input_tokens: Some(300),
        cache_write_tokens: None,
        reasoning_tokens: Some(0),
    }
}

pub(super) fn run_error() -> run::RunError {
    run::RunError {
        error_type: text("llm_rate_limit"),
        message: text("the provider is busy"),
        detail: Some(text("429")),
        retry_after_s: Some(20),
    }
}

/// Every outcome.
pub(super) fn steps_ended() -> Vec<agent::Event> {
    use run::StepOutcome;
    let outcomes = [
        (StepOutcome::Success, None),
        (StepOutcome::Failed { error: run_error() }, Some(run::StopReason::LlmApiError)),
        (StepOutcome::Cancelled, Some(run::StopReason::Cancelled)),
    ];
    let ended = |(outcome, stop_reason)| {
        agent::Event::StepEnded(run::StepEnded {
            run: run_id(),
            step: step_id(),
            outcome,
            input_enters: true,
            messages: vec![message(Role::Assistant), message(Role::Tool)],
            tools_called: vec!["memory_insert".to_owned()],
            usage: usage(),
            prompt_hash: Some([9; 16]),
            stop_reason,
            timing: run::StepTiming {
                started_at: at(1),
                model_started_at: at(2),
                model_ns: 3_000,
                tools_ns: 4_000,
                total_ns: 5_000,
            },
        })
    };
    outcomes.map(ended).to_vec()
}

/// Every status and every reason.
pub(super) fn runs_ended() -> Vec<agent::Event> {
    use run::{EndStatus, StopReason};
    let ends = [
        (EndStatus::Completed, StopReason::EndTurn),
        (EndStatus::Failed, StopReason::Error),
        (EndStatus::Failed, StopReason::LlmApiError),
        (EndStatus::Failed, StopReason::InvalidLlmResponse),
        (EndStatus::Failed, StopReason::InvalidToolCall),
        (EndStatus::Completed, StopReason::MaxSteps),
        (EndStatus::Completed, StopReason::MaxTokensExceeded),
        (EndStatus::Completed, StopReason::NoToolCall),
        (EndStatus::Completed, StopReason::ToolRule),
        (EndStatus::Cancelled, StopReason::Cancelled),
        (EndStatus::Failed, StopReason::InsufficientCredits),
        (EndStatus::Completed, StopReason::RequiresApproval),
        (EndStatus::Failed, StopReason::ContextWindowOverflowInSystemPrompt),
    ];
    let ended = |(status, stop_reason)| {
        let failed = status == EndStatus::Failed;
        agent::Event::RunEnded(run::Ended {
            run: run_id(),
            status,
            stop_reason,
            error: failed.then(run_error),
            interrupted: failed,
            input: if status == EndStatus::Cancelled { vec![message(Role::User)] } else { vec![] },
            ttft_ns: (!failed).then_some(1_500_000),
            total_ns: 9_000_000,
        })
    };
    ends.map(ended).to_vec()
}
