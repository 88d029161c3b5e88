//! The flags of settings, made from the table.
//!
//! clap's derive would need every setting a second time, with its help text; here the table is the only list.

use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};

use crate::config::{Flags, SETTINGS, Setting};

/// The flags of `retold serve`.
#[derive(Debug, Clone)]
pub(super) struct ServeFlags(pub(super) Flags);

/// The flags of `retold chat`.
#[derive(Debug, Clone)]
pub(super) struct ChatFlags(pub(super) Flags);

/// The flags of the commands that talk to a running server.
#[derive(Debug, Clone)]
pub(super) struct ClientFlags(pub(super) Flags);

/// The flags of the commands that work on a data directory.
#[derive(Debug, Clone)]
pub(super) struct DirFlags(pub(super) Flags);

fn of_dir(setting: &Setting) -> bool {
    ["data_dir", "config", "cache_bytes", "log"].contains(&setting.key)
}

fn of_client(setting: &Setting) -> bool {
    // A data directory names no server.
    setting.for_chat && setting.key != "data_dir"
}

fn of_serve(setting: &Setting) -> bool {
    setting.for_serve
}

fn of_chat(setting: &Setting) -> bool {
    setting.for_chat
}

fn args(which: fn(&Setting) -> bool) -> impl Iterator<Item = Arg> {
    SETTINGS.iter().filter(move |setting| which(setting)).filter_map(arg)
}

fn arg(setting: &Setting) -> Option<Arg> {
    let arg =
        Arg::new(setting.key).long(setting.flag?).help(help(setting)).help_heading(setting.heading);
    Some(if setting.is_switch() {
        arg.action(ArgAction::SetTrue)
    } else {
        arg.action(ArgAction::Set).value_name(setting.value)
    })
}

fn help(setting: &Setting) -> String {
    let mut text = setting.help.trim_end_matches('.').to_owned();
    if !setting.is_switch() && !setting.default_shown().is_empty() {
        text.push_str(&format!(" [default: {}]", setting.default_shown()));
    }
    if !setting.env.is_empty() {
        text.push_str(&format!(" [env: {}]", setting.env.join(", ")));
    }
    text
}

fn given(matches: &ArgMatches, which: fn(&Setting) -> bool) -> Flags {
    let mut flags = Flags::default();
    for setting in SETTINGS.iter().filter(|setting| which(setting) && setting.flag.is_some()) {
        if setting.is_switch() {
            if matches.get_flag(setting.key) {
                flags.set(setting, "true");
            }
        } else if let Some(value) = matches.get_one::<String>(setting.key) {
            flags.set(setting, value);
        }
    }
    flags
}

macro_rules! flags_of {
    ($name:ident, $which:ident) => {
        impl Args for $name {
            fn augment_args(command: Command) -> Command {
                command.args(args($which))
            }

            fn augment_args_for_update(command: Command) -> Command {
                Self::augment_args(command)
            }
        }

        impl FromArgMatches for $name {
            fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
                Ok(Self(given(matches, $which)))
            }

            fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
                self.0 = given(matches, $which);
                Ok(())
            }
        }
    };
}

flags_of!(ServeFlags, of_serve);
flags_of!(ChatFlags, of_chat);
flags_of!(ClientFlags, of_client);
flags_of!(DirFlags, of_dir);
