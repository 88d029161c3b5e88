//! The table of all settings: the one place that says how each is called, what it means and what it is when unset.
//!
//! The command line, its help text, the file's list of valid keys, the defaults and the table in the documentation are
//! all made from it. What type a setting has is said where [`Config`](super::Config) reads it.

/// One setting under all its names.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    /// Its key in the file, and its name in `retold config show`.
    pub key: &'static str,
    /// Its flag, without dashes. Secrets have none: a command line can be seen by every user of the machine.
    pub flag: Option<&'static str>,
    /// What stands for the value in the help text; empty for a switch.
    pub value: &'static str,
    /// Its variables; the first one that is set wins.
    pub env: &'static [&'static str],
    /// Whether the file may set it.
    pub in_file: bool,
    /// What it is when unset, in the form a flag would have; empty when unset means absent.
    pub default: &'static str,
    /// The default in words, where the form is empty or says little.
    pub default_text: &'static str,
    /// The heading it stands under.
    pub heading: &'static str,
    /// What it does, in one or two sentences.
    pub help: &'static str,
    /// Whether `retold chat` has the flag.
    pub for_chat: bool,
    /// Whether `retold serve` has the flag.
    pub for_serve: bool,
}

const ADDRESS: &str = "Where";
const ACCESS: &str = "Access";
const MODELS: &str = "Models";
const LIMITS: &str = "Limits";
const RUNNING: &str = "Running";
const TOOLS: &str = "Tools";
const TRACES: &str = "Traces";

const BLANK: Setting = Setting {
    key: "",
    flag: None,
    value: "",
    env: &[],
    in_file: true,
    default: "",
    default_text: "",
    heading: ADDRESS,
    help: "",
    for_chat: false,
    for_serve: true,
};

macro_rules! settings {
    ($($(#[$doc:meta])* $name:ident { $($field:ident: $value:expr),* $(,)? })*) => {
        $($(#[$doc])* pub(crate) const $name: Setting = Setting { $($field: $value,)* ..BLANK };)*

        /// Every setting, in the order of the documentation.
        pub const SETTINGS: &[Setting] = &[$($name),*];
    };
}

settings! {
    HOST {
        key: "host", flag: Some("host"), value: "ADDRESS", env: &["RETOLD_HOST"], default: "127.0.0.1",
        help: "Address to listen on. Anything but loopback needs a password (or --insecure).",
    }
    PORT {
        key: "port", flag: Some("port"), value: "PORT", env: &["RETOLD_PORT"], default: "8283",
        help: "Port to listen on; 0 takes any free one.", for_chat: true,
    }
    DATA_DIR {
        key: "data_dir", flag: Some("data-dir"), value: "DIR", env: &["RETOLD_DATA_DIR"],
        default_text: "$LETTA_DIR/retold, else $XDG_DATA_HOME/retold, else ~/.local/share/retold",
        help: "Directory that holds everything the server remembers.", for_chat: true,
    }
    CONFIG {
        key: "config", flag: Some("config"), value: "FILE", env: &["RETOLD_CONFIG"], in_file: false,
        default_text: "./retold.toml if it exists", help: "Configuration file (TOML).", for_chat: true,
    }
    URL {
        key: "url", flag: Some("url"), value: "URL", env: &["RETOLD_URL", "LETTA_BASE_URL"],
        default_text: "a server on this machine's port; `chat` embeds one where there is none",
        help: "Server that `retold chat`, `events` and `runs` talk to.", for_chat: true, for_serve: false,
    }
    PASSWORD {
        key: "password", value: "TEXT", env: &["RETOLD_PASSWORD", "LETTA_SERVER_PASSWORD"], heading: ACCESS,
        default_text: "none; made up and shown once with --secure",
        help: "Password every request must carry, as a bearer token. Setting it demands it; there is no flag, because \
               command lines can be seen by others.",
    }
    PASSWORD_FILE {
        key: "password_file", flag: Some("password-file"), value: "FILE", env: &["RETOLD_PASSWORD_FILE"],
        heading: ACCESS, help: "File that holds the password.", for_chat: true,
    }
    SECURE {
        key: "secure", flag: Some("secure"), env: &["RETOLD_SECURE", "LETTA_SERVER_SECURE"], default: "false",
        heading: ACCESS,
        help: "Demand a password even if none is set: one is made up and shown once. An explicit false leaves \
               LETTA_SERVER_PASSWORD unused, as Letta does.",
    }
    INSECURE {
        key: "insecure", flag: Some("insecure"), in_file: false, default: "false", heading: ACCESS,
        help: "Listen beyond loopback without a password. Whoever reaches the port then owns every agent.",
    }
    ENCRYPTION_KEY {
        key: "encryption_key", value: "TEXT", env: &["RETOLD_ENCRYPTION_KEY", "LETTA_ENCRYPTION_KEY"],
        in_file: false, heading: ACCESS,
        default_text: "the file secrets.key of the data directory, made when a secret is first kept",
        help: "Text that the key of secrets is made of. What was sealed with another one cannot be opened, so keep it; \
               there is no flag, because command lines can be seen by others.",
    }
    CORS_ORIGINS {
        key: "cors_origins", flag: Some("cors-origins"), value: "ORIGINS", heading: ACCESS,
        env: &["RETOLD_CORS_ORIGINS", "ACCEPTABLE_ORIGINS"], default_text: "none",
        help: "Web origins whose pages may call the server, separated by commas; * for all.",
    }
    EGRESS_ALLOW {
        key: "egress_allow", flag: Some("egress-allow"), value: "HOSTS", heading: ACCESS,
        env: &["RETOLD_EGRESS_ALLOW"], default_text: "none",
        help: "Where the server may call on behalf of clients beyond what everybody can reach: networks such as 10.0.0.0/8, \
               addresses and hosts, either with a port, separated by commas; * for everywhere.",
    }
    DEFAULT_MODEL {
        key: "default_model", flag: Some("default-model"), value: "HANDLE", heading: MODELS,
        env: &["RETOLD_DEFAULT_MODEL", "LETTA_DEFAULT_LLM_HANDLE"],
        default_text: "retold/rehearsal while no provider is configured, else none",
        help: "Model of agents that are created without one.",
    }
    DEFAULT_EMBEDDING {
        key: "default_embedding", flag: Some("default-embedding"), value: "HANDLE", heading: MODELS,
        env: &["RETOLD_DEFAULT_EMBEDDING", "LETTA_DEFAULT_EMBEDDING_HANDLE"], default_text: "none",
        help: "Embedding model of agents that are created without one.",
    }
    LLM_REQUEST_TIMEOUT {
        key: "llm_request_timeout", flag: Some("llm-request-timeout"), value: "TIME", heading: MODELS,
        env: &["RETOLD_LLM_REQUEST_TIMEOUT", "LETTA_LLM_REQUEST_TIMEOUT_SECONDS"], default: "60s",
        help: "How long a model may take until its first byte.",
    }
    LLM_STREAM_TIMEOUT {
        key: "llm_stream_timeout", flag: Some("llm-stream-timeout"), value: "TIME", heading: MODELS,
        env: &["RETOLD_LLM_STREAM_TIMEOUT", "LETTA_LLM_STREAM_TIMEOUT_SECONDS"], default: "600s",
        help: "How long a model may be silent in the middle of an answer.",
    }
    MAX_BODY_BYTES {
        key: "max_body_bytes", flag: Some("max-body-bytes"), value: "SIZE", heading: LIMITS,
        env: &["RETOLD_MAX_BODY_BYTES"], default: "16MiB", help: "Largest request body.",
    }
    BODIES_BYTES {
        key: "bodies_bytes", flag: Some("bodies-bytes"), value: "SIZE", heading: LIMITS,
        env: &["RETOLD_BODIES_BYTES"], default: "256MiB",
        help: "Memory for large request bodies that are still arriving; more are answered with 503.",
    }
    MAX_CONNECTIONS {
        key: "max_connections", flag: Some("max-connections"), value: "COUNT", heading: LIMITS,
        env: &["RETOLD_MAX_CONNECTIONS"], default: "10000",
        help: "Connections at a time; more wait until one ends.",
    }
    HEADER_TIMEOUT {
        key: "header_timeout", flag: Some("header-timeout"), value: "TIME", heading: LIMITS,
        env: &["RETOLD_HEADER_TIMEOUT"], default: "10s", help: "How long a client may take to send its headers.",
    }
    BODY_TIMEOUT {
        key: "body_timeout", flag: Some("body-timeout"), value: "TIME", heading: LIMITS,
        env: &["RETOLD_BODY_TIMEOUT"], default: "30s",
        help: "How long a client may be silent in the middle of a request body.",
    }
    IDLE_TIMEOUT {
        key: "idle_timeout", flag: Some("idle-timeout"), value: "TIME", heading: LIMITS,
        env: &["RETOLD_IDLE_TIMEOUT"], default: "75s",
        help: "How long a connection is kept open between requests.",
    }
    STALL_TIMEOUT {
        key: "stall_timeout", flag: Some("stall-timeout"), value: "TIME", heading: LIMITS,
        env: &["RETOLD_STALL_TIMEOUT"], default: "30s",
        help: "How long a client may leave a stream unread before it is cut; it can go on where it was.",
    }
    KEEPALIVE_INTERVAL {
        key: "keepalive_interval", flag: Some("keepalive-interval"), value: "TIME", heading: LIMITS,
        env: &["RETOLD_KEEPALIVE_INTERVAL", "LETTA_KEEPALIVE_INTERVAL"], default: "20s",
        help: "Silence after which a stream carries a ping.",
    }
    AGENT_QUEUE {
        key: "agent_queue", flag: Some("agent-queue"), value: "COUNT", heading: LIMITS,
        env: &["RETOLD_AGENT_QUEUE"], default: "32",
        help: "Messages that may wait behind a busy agent; more are answered with 429.",
    }
    MAX_OPEN_RUNS {
        key: "max_open_runs", flag: Some("max-open-runs"), value: "COUNT", heading: LIMITS,
        env: &["RETOLD_MAX_OPEN_RUNS"], default: "4096",
        help: "Runs that may be open in the whole server; more are answered with 503.",
    }
    AWAKE_BYTES {
        key: "awake_bytes", flag: Some("awake-bytes"), value: "SIZE", heading: LIMITS,
        env: &["RETOLD_AWAKE_BYTES"], default: "128MiB",
        help: "Memory for agents that are awake; the one used longest ago is put to sleep first.",
    }
    CACHE_BYTES {
        key: "cache_bytes", flag: Some("cache-bytes"), value: "SIZE", heading: LIMITS,
        env: &["RETOLD_CACHE_BYTES"], default: "64MiB", help: "Memory for the log's page cache.",
    }
    RESERVE_BYTES {
        key: "reserve_bytes", flag: Some("reserve-bytes"), value: "SIZE", heading: LIMITS,
        env: &["RETOLD_RESERVE_BYTES"], default_text: "the log's own choice",
        help: "Disk space kept free, so that open runs can still end when the disk is full.",
    }
    DRAIN_DEADLINE {
        key: "drain_deadline", flag: Some("drain-deadline"), value: "TIME", heading: RUNNING,
        env: &["RETOLD_DRAIN_DEADLINE"], default: "10s",
        help: "How long running answers may take to end after SIGTERM or Ctrl-C.",
    }
    LOG {
        key: "log", flag: Some("log"), value: "LEVEL", heading: RUNNING,
        env: &["RETOLD_LOG", "LETTA_LOGGING_LOG_LEVEL", "LETTA_LOGGING_LEVEL"], default: "info",
        help: "What is logged, on standard error: a level, or directives such as info,retold_actors=debug.",
        for_chat: true,
    }
    TOOL_TIMEOUT {
        key: "tool_timeout", flag: Some("tool-timeout"), value: "TIME", heading: TOOLS,
        env: &["RETOLD_TOOL_TIMEOUT", "TOOL_SANDBOX_TIMEOUT"], default: "180s",
        help: "How long one call of a user's tool may take; then it is ended.",
    }
    TOOL_CONCURRENCY {
        key: "tool_concurrency", flag: Some("tool-concurrency"), value: "COUNT", heading: TOOLS,
        env: &["RETOLD_TOOL_CONCURRENCY"], default: "8",
        help: "Calls of users' tools at a time; more wait for one to end.",
    }
    TOOL_NETWORK {
        key: "tool_network", flag: Some("tool-network"), heading: TOOLS,
        env: &["RETOLD_TOOL_NETWORK"], default: "false",
        help: "Let all users' tools use the network, not only those with the tag retold:network.",
    }
    TOOL_UNCAGED {
        key: "tool_uncaged", flag: Some("tool-uncaged"), heading: TOOLS,
        env: &["RETOLD_TOOL_UNCAGED"], default: "false",
        help: "Run users' tools even where nothing on this machine keeps them in. They can do all that the server can.",
    }
    MCP_STDIO {
        key: "mcp_stdio", flag: Some("mcp-stdio"), heading: TOOLS, env: &["RETOLD_MCP_STDIO"], default: "false",
        help: "Start MCP servers that are programs. Whoever may use the API can then run any command as this server's \
               user. MCP_DISABLE_STDIO=false does the same.",
    }
    MCP_TIMEOUT {
        key: "mcp_timeout", flag: Some("mcp-timeout"), value: "TIME", heading: TOOLS,
        env: &["RETOLD_MCP_TIMEOUT"], default: "30s",
        help: "How long an MCP server may take to say what tools it has. Calls of its tools have tool_timeout.",
    }
    APPROVAL_TIMEOUT {
        key: "approval_timeout", flag: Some("approval-timeout"), value: "TIME", heading: TOOLS,
        env: &["RETOLD_APPROVAL_TIMEOUT"], default: "604800s",
        help: "How long a tool call may wait for approval, or for the client that runs it; then it counts as denied.",
    }
    OTLP_ENDPOINT {
        key: "otlp_endpoint", flag: Some("otlp-endpoint"), value: "URL", heading: TRACES,
        env: &["RETOLD_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT", "LETTA_OTEL_EXPORTER_OTLP_ENDPOINT"],
        default_text: "none: no traces are sent",
        help: "OpenTelemetry collector that gets a trace of every run, over HTTP; /v1/traces is added to it.",
    }
    OTLP_TRACES_ENDPOINT {
        key: "otlp_traces_endpoint", flag: Some("otlp-traces-endpoint"), value: "URL", heading: TRACES,
        env: &["RETOLD_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"], default_text: "none",
        help: "The same as a whole URL, to which nothing is added.",
    }
    OTLP_HEADERS {
        key: "otlp_headers", value: "HEADERS", heading: TRACES,
        env: &["RETOLD_OTLP_HEADERS", "OTEL_EXPORTER_OTLP_TRACES_HEADERS", "OTEL_EXPORTER_OTLP_HEADERS"],
        default_text: "none",
        help: "Headers for the collector, such as authorization=Bearer%20key, separated by commas.",
    }
    OTLP_CONTENT {
        key: "otlp_content", flag: Some("otlp-content"), heading: TRACES, default: "false",
        env: &["RETOLD_OTLP_CONTENT", "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"],
        help: "Put into traces what people, models and tools said; without it they hold names, times and numbers only.",
    }
    OTEL_SERVICE_NAME {
        key: "otel_service_name", flag: Some("otel-service-name"), value: "NAME", heading: TRACES,
        env: &["RETOLD_OTEL_SERVICE_NAME", "OTEL_SERVICE_NAME"], default: "retold",
        help: "What the service is called in traces.",
    }
    OTEL_RESOURCE_ATTRIBUTES {
        key: "otel_resource_attributes", flag: Some("otel-resource-attributes"), value: "PAIRS", heading: TRACES,
        env: &["RETOLD_OTEL_RESOURCE_ATTRIBUTES", "OTEL_RESOURCE_ATTRIBUTES"], default_text: "none",
        help: "What else traces say of the service, such as deployment.environment.name=prod, separated by commas.",
    }
    OTEL_DISABLED {
        key: "otel_disabled", flag: Some("otel-disabled"), heading: TRACES, default: "false",
        env: &["RETOLD_OTEL_DISABLED", "OTEL_SDK_DISABLED"],
        help: "Send no traces, whatever else is set.",
    }
}

impl Setting {
    /// The default as it is shown to people.
    #[must_use]
    pub fn default_shown(&self) -> &'static str {
        if self.default_text.is_empty() { self.default } else { self.default_text }
    }

    /// Whether it is on or off and takes no value on the command line.
    #[must_use]
    pub fn is_switch(&self) -> bool {
        self.value.is_empty()
    }
}

/// The table as Markdown, for the documentation.
#[must_use]
pub fn markdown() -> String {
    let mut text =
        String::from("| Flag | Variables | Key | Default | Meaning |\n|---|---|---|---|---|\n");
    for setting in SETTINGS {
        let flag = setting.flag.map_or_else(|| "–".to_owned(), |flag| format!("`--{flag}`"));
        let env = setting.env.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        let env = if env.is_empty() { "–".to_owned() } else { env };
        let key = if setting.in_file { format!("`{}`", setting.key) } else { "–".to_owned() };
        let default =
            if setting.default_shown().is_empty() { "–" } else { setting.default_shown() };
        text.push_str(&format!("| {flag} | {env} | {key} | {default} | {} |\n", setting.help));
    }
    text
}
