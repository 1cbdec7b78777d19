//! Whether the cluster has the definitions of SealedSecret and SealingKey that this program knows.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, CustomResourceDefinitionVersion,
};
use waxseal_shared::api_group::{API_VERSION, VERSION};
use waxseal_shared::crds;

use super::findings::Findings;
use crate::cluster::{Look, Session};
use crate::error::CliError;

const INSTALL: &str = "install the custom resource definitions of Waxseal";

pub(super) fn check(session: &Session, findings: &mut Findings) -> Result<(), CliError> {
    let served = match session.served_resources()? {
        Look::Found(served) => served,
        Look::Absent => Vec::new(),
        Look::Forbidden => {
            findings.not_checked(format!("the definitions: you may not see the API group of {API_VERSION}"));
            return Ok(());
        }
    };
    for definition in crds::all() {
        let names = &definition.spec.names;
        let needed = [names.plural.clone(), format!("{}/status", names.plural)];
        match needed.into_iter().find(|resource| !served.contains(resource)) {
            Some(missing) => {
                findings.problem(format!("the cluster does not serve {missing} of {API_VERSION}"), INSTALL)
            }
            None => {
                findings.ok(format!("the cluster serves {} of {API_VERSION} with their status", names.plural));
                check_schema(session, &definition, findings)?;
            }
        }
    }
    Ok(())
}

fn check_schema(session: &Session, known: &CustomResourceDefinition, findings: &mut Findings) -> Result<(), CliError> {
    let name = known.metadata.name.as_deref().unwrap_or_default();
    match session.definition(name)? {
        Look::Found(found)
            if version(&found).map(|found| &found.schema) == version(known).map(|known| &known.schema) =>
        {
            findings.ok(format!("the definition {name} is the one of this waxseal"));
        }
        Look::Found(_) => findings.problem(
            format!("the definition {name} differs from the one of this waxseal"),
            "install definitions, controller and waxseal of the same version",
        ),
        Look::Absent => findings.problem(format!("the cluster has no definition {name}"), INSTALL),
        Look::Forbidden => findings.not_checked(format!(
            "whether the definition {name} is the one of this waxseal: you may not get CustomResourceDefinitions"
        )),
    }
    Ok(())
}

fn version(definition: &CustomResourceDefinition) -> Option<&CustomResourceDefinitionVersion> {
    definition.spec.versions.iter().find(|version| version.name == VERSION)
}
