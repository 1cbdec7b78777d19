use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use kube::{Client, Config};
use serde_json::{Value, json};

use super::Error;

/// The proof of identity that a client sends to the API server.
#[derive(Clone)]
pub enum Credential {
    /// A certificate that the cluster's authority signed, and its key, both as PEM.
    ClientCertificate { certificate: String, key: String },
    /// A bearer token.
    Token(String),
}

impl Credential {
    fn to_user(&self) -> Value {
        match self {
            Self::ClientCertificate { certificate, key } => json!({
                "client-certificate-data": STANDARD.encode(certificate),
                "client-key-data": STANDARD.encode(key),
            }),
            Self::Token(token) => json!({ "token": token }),
        }
    }
}

/// The address and certificate authority of the API server.
pub(super) struct Server {
    pub(super) url: String,
    pub(super) ca: String,
    pub(super) ca_der: Vec<u8>,
}

impl Server {
    /// Returns a client of this server. It uses no kubeconfig and no proxy of the user.
    ///
    /// Must be called in a tokio runtime, which then drives the client.
    pub(super) fn client(&self, credential: &Credential) -> Result<Client, Error> {
        let url = self.url.parse().map_err(client_error::<http::uri::InvalidUri>)?;
        let mut config = Config::new(url);
        config.root_cert = Some(vec![self.ca_der.clone()]);
        config.auth_info = serde_json::from_value(credential.to_user()).map_err(client_error)?;
        // Without retries: a retry would hide an outage from a test.
        config.default_retry = false;
        Client::try_from(config).map_err(client_error)
    }

    pub(super) fn write_kubeconfig(
        &self,
        path: &Path,
        context: &str,
        credential: &Credential,
        namespace: &str,
    ) -> Result<(), Error> {
        let content = self.kubeconfig(context, credential, namespace).to_string();
        OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(path)
            .and_then(|mut file| file.write_all(content.as_bytes()))
            .map_err(|source| Error::Write { path: path.to_owned(), source })
    }

    /// Returns a kubeconfig in JSON, which is also YAML.
    fn kubeconfig(&self, context: &str, credential: &Credential, namespace: &str) -> Value {
        json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{ "name": context, "cluster": {
                "server": self.url,
                "certificate-authority-data": STANDARD.encode(&self.ca),
            }}],
            "users": [{ "name": context, "user": credential.to_user() }],
            "contexts": [{ "name": context, "context": {
                "cluster": context, "user": context, "namespace": namespace,
            }}],
            "current-context": context,
        })
    }
}

fn client_error<E: std::error::Error + Send + Sync + 'static>(error: E) -> Error {
    Error::Client(Box::new(error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_kubeconfig_holds_its_one_context_and_is_private() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("kubeconfig");
        let server = Server { url: "https://127.0.0.1:6443".to_owned(), ca: "CA".to_owned(), ca_der: Vec::new() };
        server
            .write_kubeconfig(&path, "staging", &Credential::Token("t".to_owned()), "shop")
            .expect("the folder is writable");
        let mode = path.metadata().expect("it is there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let written = kube::config::Kubeconfig::read_from(&path).expect("it is a kubeconfig");
        assert_eq!(written.current_context.as_deref(), Some("staging"));
        let context = written.contexts[0].context.as_ref().expect("it is filled");
        assert_eq!(context.namespace.as_deref(), Some("shop"));
    }
}
