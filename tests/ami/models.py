"""models.py STACK...: checks the resources of CloudFormation stacks against the models of AWS's APIs that botocore carries.

The properties of these resources are the parameters of the calls that make them. References become what they refer to: strings.
"""

import sys

import botocore.session
import botocore.validate
import yaml

CALLS = {
    "AWS::EC2::LaunchTemplate": ("ec2", "CreateLaunchTemplate", {}),
    "AWS::ImageBuilder::Component": ("imagebuilder", "CreateComponent", {"Version": "semanticVersion"}),
    "AWS::ImageBuilder::ImageRecipe": ("imagebuilder", "CreateImageRecipe", {"Version": "semanticVersion"}),
    "AWS::ImageBuilder::InfrastructureConfiguration": ("imagebuilder", "CreateInfrastructureConfiguration", {}),
    "AWS::ImageBuilder::DistributionConfiguration": ("imagebuilder", "CreateDistributionConfiguration", {}),
    "AWS::ImageBuilder::ImagePipeline": ("imagebuilder", "CreateImagePipeline", {}),
}


def plain(value):
    """Without the functions of CloudFormation."""
    if isinstance(value, dict):
        if list(value) == ["Fn::If"]:
            return plain(value["Fn::If"][1])
        if len(value) == 1 and list(value)[0] in ("Ref", "Fn::Sub", "Fn::GetAtt"):
            return "reference"
        return {key: plain(part) for key, part in value.items()}
    return [plain(part) for part in value] if isinstance(value, list) else value


def as_in(value, shape, names):
    """With the names of members as the API writes them: their first letter is of another case."""
    if shape.type_name == "structure":
        members = {name.lower(): name for name in shape.members}
        known = {key: members.get(names.get(key, key).lower(), key) for key in value}
        return {
            name: as_in(value[key], shape.members[name], {}) if name in shape.members else value[key]
            for key, name in known.items()
        }
    if shape.type_name == "list":
        return [as_in(part, shape.member, {}) for part in value]
    return value


def enumerations(value, shape, place):
    if shape.type_name == "structure":
        for name, part in value.items():
            if name not in shape.members:
                sys.exit(f"{place}: {name} is unknown")
            enumerations(part, shape.members[name], f"{place}.{name}")
    elif shape.type_name == "list":
        for part in value:
            enumerations(part, shape.member, place)
    elif getattr(shape, "enum", None) and value not in shape.enum and value != "reference":
        sys.exit(f"{place}: {value} is none of {shape.enum}")


def check(stack):
    session = botocore.session.get_session()
    with open(stack, encoding="utf8") as source:
        resources = yaml.safe_load(source)["Resources"]
    for name, resource in resources.items():
        service, operation, names = CALLS[resource["Type"]]
        shape = session.get_service_model(service).operation_model(operation).input_shape
        given = as_in(plain(resource["Properties"]), shape, names)
        if "clientToken" in shape.members:
            given["clientToken"] = "0"  # CloudFormation's own
        report = botocore.validate.ParamValidator().validate(given, shape)
        if report.has_errors():
            sys.exit(f"{stack}: {name}: {report.generate_report()}")
        enumerations(given, shape, f"{stack}: {name}")


for path in sys.argv[1:]:
    check(path)
