//! `qmp tail --from`: records from a stream of `JetStream`, without a hub.

use std::path::PathBuf;

use clap::Args;
use jiff::Zoned;
use qmp_fleet::{FleetError, FollowItem, ServerConfig, StreamFollow, StreamStart};
use qmp_hub::FleetSourceConfig;
use qmp_wire::UnixMicros;

use super::subjects;
use crate::exit::Failure;
use crate::filter::EventFilter;
use crate::hub::HubArgs;
use crate::live;
use crate::output;
use crate::time::parse;
use crate::window;

/// The name of this program at the servers.
const CONNECTION_NAME: &str = "qmp tail";

/// A stream, and how to read it.
#[derive(Args, Clone, Debug)]
pub(super) struct StreamArgs {
    /// Read a stream of NATS JetStream to which hubs publish, `qmp` if none is named, and ask no hub
    #[arg(long, value_name = "nats://HOST:PORT[/STREAM]", conflicts_with_all = ["exit", "token_file"])]
    from: Option<FleetSourceConfig>,

    /// With --from, begin with the records that the hubs received at this time, such as 10min or 15:04; the default is now
    #[arg(long, short = 'S', value_name = "TIME", requires = "from")]
    since: Option<String>,

    /// With --from, the file with the JWT and the seed of a user of NATS
    #[arg(long, value_name = "FILE", requires = "from")]
    credentials_file: Option<PathBuf>,

    /// With --from, the authorities that are trusted instead of those of the system (PEM)
    #[arg(long, value_name = "FILE", requires = "from")]
    ca_file: Option<PathBuf>,

    /// With --from, the client's certificate and its key (PEM, in one file)
    #[arg(long, value_name = "FILE", requires = "from")]
    certificate: Option<PathBuf>,
}

impl StreamArgs {
    /// The stream, if one is given.
    pub(super) fn source(&self) -> Option<&FleetSourceConfig> {
        self.from.as_ref()
    }

    /// The time of `--since`.
    pub(super) fn since(&self, now: &Zoned) -> Result<Option<UnixMicros>, Failure> {
        window::moment("--since", self.since.as_deref(), now, parse::parse_past)
    }

    /// Connects to the stream of the records that `filter` shows.
    pub(super) async fn open(
        &self,
        source: &FleetSourceConfig,
        filter: &EventFilter,
    ) -> Result<StreamFollow, Failure> {
        let start = filter.query().since.map_or(StreamStart::End, StreamStart::Time);
        let filters = subjects::selection(filter).subjects();
        let mut follow = StreamFollow::new(self.server(source), &source.stream, filters, start);
        match open(&mut follow).await {
            Ok(()) => Ok(follow),
            Err(error) => Err(Failure::failed(format_args!("{source}: {error}"))),
        }
    }

    fn server(&self, of: &FleetSourceConfig) -> ServerConfig {
        ServerConfig {
            credentials_file: self.credentials_file.clone(),
            ca_file: self.ca_file.clone(),
            certificate: self.certificate.clone(),
            name: CONNECTION_NAME.into(),
            ..of.server.clone()
        }
    }
}

/// Refuses what only a hub or a monitor has.
pub(super) fn check(has_address: bool, hub: &HubArgs, filter: &EventFilter) -> Result<(), Failure> {
    if has_address {
        return Err(Failure::usage("--from reads a stream, and no monitor by its address")
            .hint("a VM of one host: --vm HOST/VM, or NAME --host HOST"));
    }
    if hub.hub.is_some() && !hub.is_of_the_environment() {
        return Err(Failure::usage(
            "--hub and --from cannot be used together: the one is a hub, the other a stream",
        ));
    }
    match filter.query().vm.patterns().find(|pattern| pattern.starts_with('/')) {
        Some(pattern) => {
            let refused = format_args!("--vm {pattern}: each VM of a stream has a host");
            Err(Failure::usage(refused).hint("--vm HOST/VM, or --vm NAME for that of every host"))
        }
        None => Ok(()),
    }
}

/// Connects. A server that does not filter is asked again with a wider filter.
async fn open(follow: &mut StreamFollow) -> Result<(), FleetError> {
    let mut is_noted = false;
    while let Some(item) = follow.open().await? {
        if let FollowItem::Unfiltered { requested, server_version } = item
            && !std::mem::replace(&mut is_noted, true)
        {
            output::note(format_args!("note: {}", live::unfiltered(&requested, &server_version)));
        }
    }
    Ok(())
}
