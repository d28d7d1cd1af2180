//! What may be asked for.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Eddy, your personal cloud, from a shell.
#[derive(Parser, Debug)]
#[command(name = "eddy", version, about, after_help = EXIT_CODES)]
pub(crate) struct Arguments {
    /// Which cloud, of those that you are signed in to
    #[arg(long, global = true, env = "EDDY_CONTEXT")]
    pub(crate) context: Option<String>,

    /// How results are shown
    #[arg(short, long, global = true, value_enum, default_value_t = Output::Text)]
    pub(crate) output: Output,

    #[command(subcommand)]
    pub(crate) command: Command,
}

const EXIT_CODES: &str = "Exit codes: 0 done, 1 failed, 2 asked for wrongly, 3 not signed in or not allowed, 4 not there, 5 in conflict, 6 not reachable now, 7 refused as it is.
Files: ~/.config/eddy/config.json, or what EDDY_CONFIG names. EDDY_URL and EDDY_TOKEN take the place of a context.";

/// How results are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For people.
    Text,
    /// For programs.
    Json,
}

#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// Sign in: opens a page where you let this program in
    Login(Login),
    /// Sign out of a context, and forget it
    Logout,
    /// Contexts: which clouds you are signed in to
    Context(Context),
    /// Who you are there
    Whoami,
    /// Show objects of a kind, or one
    Get(Get),
    /// Show all of one object
    Describe(One),
    /// Make objects be as files say
    Apply(Apply),
    /// Remove objects
    Delete(Delete),
    /// Tokens
    Token(Token),
    /// Files
    Files(Files),
    /// Show where the cloud is in a browser
    Open,
    /// Write what a shell completes commands with
    Completion {
        /// Which shell
        #[arg(value_enum)]
        shell: clap_complete::Shell,
    },
}

#[derive(Args, Debug)]
pub(crate) struct Login {
    /// The cloud, as in https://cloud.example.com
    pub(crate) url: String,
    /// Connect to this address instead of the one that the name has
    #[arg(long)]
    pub(crate) connect: Option<SocketAddr>,
    /// Take a token from standard input instead of asking to be let in
    #[arg(long)]
    pub(crate) token_stdin: bool,
}

#[derive(Args, Debug)]
pub(crate) struct Context {
    #[command(subcommand)]
    pub(crate) command: Option<ContextCommand>,
}

#[derive(Subcommand, Debug)]
pub(crate) enum ContextCommand {
    /// Show all
    List,
    /// Use this one from now on
    Use {
        /// Its name
        name: String,
    },
    /// Forget one, without signing out
    Forget {
        /// Its name
        name: String,
    },
}

#[derive(Args, Debug)]
pub(crate) struct Get {
    /// The kind, as in containers, container or ctr
    pub(crate) kind: String,
    /// One of them
    pub(crate) name: Option<String>,
    /// Whose; yours if not said
    #[arg(short, long)]
    pub(crate) tenant: Option<String>,
    /// Those of all tenants, for administrators
    #[arg(short = 'A', long, conflicts_with_all = ["tenant", "name"])]
    pub(crate) all_tenants: bool,
    /// Only those with these labels, as in tier=front
    #[arg(short = 'l', long, conflicts_with = "name")]
    pub(crate) selector: Option<String>,
    /// Go on showing what changes
    #[arg(short, long, conflicts_with = "name")]
    pub(crate) watch: bool,
}

#[derive(Args, Debug)]
pub(crate) struct One {
    /// The kind
    pub(crate) kind: String,
    /// Its name
    pub(crate) name: String,
    /// Whose; yours if not said
    #[arg(short, long)]
    pub(crate) tenant: Option<String>,
}

#[derive(Args, Debug)]
pub(crate) struct Apply {
    /// A file of YAML or JSON, a folder of such, or - for standard input; may be given several times
    #[arg(short, long = "filename", required = true)]
    pub(crate) filenames: Vec<PathBuf>,
    /// Only whether it could be done
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Take over what others have set
    #[arg(long)]
    pub(crate) force_conflicts: bool,
}

#[derive(Args, Debug)]
pub(crate) struct Delete {
    /// The kind
    #[arg(required_unless_present = "filenames", requires = "name")]
    pub(crate) kind: Option<String>,
    /// Its name
    pub(crate) name: Option<String>,
    /// Whose; yours if not said
    #[arg(short, long, conflicts_with = "filenames")]
    pub(crate) tenant: Option<String>,
    /// What these files say, instead, with whose it is
    #[arg(short, long = "filename", conflicts_with = "kind")]
    pub(crate) filenames: Vec<PathBuf>,
}

#[derive(Args, Debug)]
pub(crate) struct Token {
    #[command(subcommand)]
    pub(crate) command: TokenCommand,
}

#[derive(Subcommand, Debug)]
pub(crate) enum TokenCommand {
    /// Make a Token, and show it
    Create {
        /// Its name
        name: String,
        /// What it is good for, as in storage.ada.files:read,list; may be given several times; all that is yours if not said
        #[arg(long = "scope")]
        scopes: Vec<String>,
        /// The ServiceAccount that it stands for
        #[arg(long)]
        service_account: Option<String>,
        /// How long it is good, as in 30d or 12h; for ever if not said
        #[arg(long)]
        expires_in: Option<String>,
    },
    /// Show a Token again that is there
    Show {
        /// Its name
        name: String,
    },
}

#[derive(Args, Debug)]
pub(crate) struct Files {
    #[command(subcommand)]
    pub(crate) command: FilesCommand,
}

/// Files there are written namespace:path, those here as paths.
#[derive(Subcommand, Debug)]
pub(crate) enum FilesCommand {
    /// Show namespaces, or what is in one
    Ls {
        /// namespace or namespace:folder/
        place: Option<String>,
        /// What is in folders, too
        #[arg(short, long)]
        recursive: bool,
    },
    /// Copy a file, or with -r a folder: from here to there, from there to here, or there
    Cp {
        /// From; - for standard input
        from: String,
        /// To; - for standard output
        to: String,
        /// A folder and all in it
        #[arg(short, long)]
        recursive: bool,
    },
    /// Copy what is new or has changed, between a folder here and one there
    Sync {
        /// From
        from: String,
        /// To
        to: String,
        /// Remove what is not in the source
        #[arg(long)]
        delete: bool,
        /// Only say what would be done
        #[arg(long)]
        dry_run: bool,
    },
    /// Remove a file, or with -r a folder
    Rm {
        /// namespace:path
        place: String,
        /// A folder and all in it
        #[arg(short, long)]
        recursive: bool,
    },
    /// Make a link that anyone may read a file by
    Share {
        /// namespace:path
        place: String,
        /// How long it is good, as in 7d or 12h
        #[arg(long = "for", default_value = "7d")]
        lasts: String,
    },
}
