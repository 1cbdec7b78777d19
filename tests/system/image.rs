//! The image of `deploy/image`. The tests of the chart and of Kustomize run it as a Pod would.

use std::net::TcpListener;
use std::process::{Command, Stdio};

use serde_json::json;
use waxseal_tests::image::{self, ARCHITECTURE};
use waxseal_tests::waiting;

use crate::registration::{Context, Test, TestResult};
use crate::sealing::{DEADLINE, run};

/// The size in bytes that the program must not reach.
const SIZE_LIMIT: u64 = 20_000_000;

pub(crate) fn tests() -> Vec<Test> {
    vec![
        Test::blocking("image::has_one_file_and_the_settings_of_the_containerfile", contents),
        Test::blocking("image::the_same_program_gives_the_same_digest", digest),
        Test::blocking("image::the_program_has_no_path_of_the_machine_that_built_it", paths),
        Test::blocking("image::the_program_needs_no_other_file", no_other_file),
        Test::blocking("image::its_root_is_read_only", read_only),
        Test::blocking("image::the_program_resolves_the_name_of_the_api_server", name_of_the_api_server),
    ]
}

fn contents(context: &Context) -> TestResult {
    let image = context.image()?;
    let config = image.config()?;
    let version = env!("CARGO_PKG_VERSION");
    let labels = json!({
        "org.opencontainers.image.title": "waxseal-controller",
        "org.opencontainers.image.description": "Makes Kubernetes Secrets from the SealedSecrets of Waxseal",
        "org.opencontainers.image.licenses": "Apache-2.0",
        "org.opencontainers.image.source": "https://github.com/waxseal/waxseal",
        "org.opencontainers.image.version": version,
    });
    // Builders set the usual PATH when the image has none.
    let path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    let entry_point = ["/waxseal-controller"];
    let settings = json!({"User": "65532:65532", "Entrypoint": entry_point, "Labels": labels, "Env": [path]});
    assert_eq!(config["config"], settings);
    assert_eq!((&config["os"], &config["architecture"]), (&json!("linux"), &json!(ARCHITECTURE)));
    let layers = image.layers()?;
    assert_eq!(layers.len(), 1);
    let listing = run(Command::new("tar").args(["--numeric-owner", "-tvzf"]).arg(&layers[0]), "")?;
    let words: Vec<_> = listing.split_whitespace().collect();
    let [mode, owner, size, .., name] = words[..] else { return Err(listing.into()) };
    assert_eq!((listing.lines().count(), mode, owner, name), (1, "-rwxr-xr-x", "0/0", "waxseal-controller"));
    assert!(size.parse::<u64>()? < SIZE_LIMIT, "{size} bytes");
    Ok(())
}

fn digest(context: &Context) -> TestResult {
    let image = context.image()?;
    let again = tempfile::tempdir_in(context.cluster.folder())?;
    assert_eq!(image::assemble(&image.context, &again.path().join("layout"))?.digest()?, image.digest()?);
    Ok(())
}

fn paths(context: &Context) -> TestResult {
    let program = std::fs::read(context.image()?.program())?;
    let repository = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
    let repository = std::fs::canonicalize(repository)?;
    let home = std::env::var("HOME")?;
    for path in [repository.to_str().ok_or("a path")?, &format!("{home}/.cargo"), ".rustup"] {
        assert!(!program.windows(path.len()).any(|part| part == path.as_bytes()), "{path}");
    }
    Ok(())
}

fn no_other_file(context: &Context) -> TestResult {
    let folder = tempfile::tempdir_in(context.cluster.folder())?;
    let mut command = context.image()?.pod_command(&folder.path().join("root"), &[])?;
    assert_eq!(run(command.arg("--version"), "")?, concat!("waxseal-controller ", env!("CARGO_PKG_VERSION"), "\n"));
    Ok(())
}

fn read_only(context: &Context) -> TestResult {
    let folder = tempfile::tempdir_in(context.cluster.folder())?;
    let volumes = [("/sealed/.keep".to_owned(), String::new())];
    let mut command = context.image()?.pod_command(&folder.path().join("root"), &volumes)?;
    command.args(["directory", "--once", "--manifests", "/sealed", "--secrets", "/secrets", "--keys", "/keys"]);
    let output = command.stdin(Stdio::null()).output()?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && stderr.contains("Read-only file system"), "{stderr}");
    Ok(())
}

/// Some managed clusters set `KUBERNETES_SERVICE_HOST` to a name, which a static program resolves without plugins.
fn name_of_the_api_server(context: &Context) -> TestResult {
    let folder = tempfile::tempdir_in(context.cluster.folder())?;
    let api_server = TcpListener::bind("127.0.0.1:0")?;
    api_server.set_nonblocking(true)?;
    let account = "/var/run/secrets/kubernetes.io/serviceaccount";
    let volumes = [
        ("/etc/hosts".to_owned(), "127.0.0.1 api-server.test\n".to_owned()),
        (format!("{account}/token"), "none".to_owned()),
        (format!("{account}/ca.crt"), context.cluster.ca_pem().to_owned()),
        (format!("{account}/namespace"), "default".to_owned()),
    ];
    let mut command = context.image()?.pod_command(&folder.path().join("root"), &volumes)?;
    let port = api_server.local_addr()?.port().to_string();
    command.env("KUBERNETES_SERVICE_HOST", "api-server.test").env("KUBERNETES_SERVICE_PORT", port);
    command.args(["kubernetes", "--listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0"]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let _controller = context.cluster.spawn(&mut command)?;
    waiting::until_blocking("a connection to the API server", DEADLINE, || api_server.accept().ok())?;
    Ok(())
}
