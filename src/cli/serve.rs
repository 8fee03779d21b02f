//! `serve`: the HTTP server.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::ExitCode;

use bigbatch_engine::task::TaskKind;
use bigbatch_server::{App, Models, Options, Served, router};
use clap::Args;

use super::options::ModelOptions;
use super::{Outcome, say};

/// Arguments of `serve`.
#[derive(Args)]
pub(crate) struct Serve {
    /// Address to listen on
    #[arg(long, visible_alias = "hostname", value_name = "IP", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    host: IpAddr,
    /// Port to listen on; 0 takes a free one
    #[arg(long, short, value_name = "PORT", default_value_t = 8080)]
    port: u16,
    #[command(flatten)]
    model: ModelOptions,
}

pub(crate) fn serve(args: Serve) -> Outcome {
    let engine = args.model.engine(TaskKind::Embed)?;
    let name = engine.model().name.clone();
    let served = Served::new(name, &args.model.model, engine);
    let models = Models::new(vec![served]).ok_or("give each --model a name of its own")?;
    let app = App::new(models, Options::default());
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind(SocketAddr::new(args.host, args.port)).await?;
        say!("listening on http://{}", listener.local_addr()?);
        axum::serve(listener, router(app)).await?;
        Ok(ExitCode::SUCCESS)
    })
}
