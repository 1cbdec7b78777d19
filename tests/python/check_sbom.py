"""Checks bills of materials: python3 check_sbom.py FILE…

Each must obey the schema of CycloneDX 1.6 (which says little about the form of package URLs and licences), and each
component must have a package URL and a licence that others can read.
"""

import json
import sys

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from license_expression import get_spdx_licensing
from packageurl import PackageURL

# get_spdx_licensing reads the list of all licences, which takes a while.
LICENCES = get_spdx_licensing()


def check(text):
    fault = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
    if fault is not None:
        sys.exit(str(fault))
    bill = json.loads(text)
    for component in [bill["metadata"]["component"], *bill["components"]]:
        PackageURL.from_string(component["purl"])
        for licence in component["licenses"]:
            faults = LICENCES.validate(licence["expression"]).errors
            if faults:
                sys.exit(f"{component['name']}: {faults}")


for path in sys.argv[1:]:
    with open(path, encoding="utf-8") as file:
        check(file.read())
