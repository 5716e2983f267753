#!/usr/bin/env python3
"""Check, offline, what template linters do not see.

The template is translated as CloudFormation would do it (no AWS account, no network). Every rule below is a function whose
name says what must hold; it yields one text for each place where that is not so. `--self-test` breaks a small template in
at least one way per rule and requires that exactly the rules concerned notice.

Usage:
    pip install aws-sam-translator boto3 pyyaml       # aws-sam-cli brings all three
    python3 infra/check_template.py [TEMPLATE]
    python3 infra/check_template.py --self-test

Exit status: 0 all rules hold, 1 a rule is broken, 2 the template cannot be translated.
"""

import argparse
import copy
import json
import logging
import os
import re
import sys
import unittest
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("AWS_DEFAULT_REGION", "us-east-1")

import boto3
from samtranslator.parser.parser import Parser
from samtranslator.translator.translator import Translator
from samtranslator.yaml_helper import yaml_parse

MAX_API_RESOURCES = 300  # the quota of a REST API
MAX_STACK_RESOURCES = 400  # CloudFormation stops at 500
MAX_API_EVENTS = 40  # of one function
MAX_FUNCTION_POLICY = 20 * 1024  # bytes, what Lambda accepts as a function's resource policy

MAX_INTEGRATION = 29_000  # milliseconds that API Gateway waits for a function, unless told otherwise

STREAMING_URI = "/2021-11-15/functions/${%s.Arn}/response-streaming-invocations"
# What SAM attaches by itself, for logs and traces. It would also attach policies that reach every queue or stream.
ATTACHED_BY_SAM = {"AWSLambdaBasicExecutionRole", "AWSXrayWriteOnlyAccess", "AWSXRayDaemonWriteAccess"}
# Actions on single objects of a bucket, which only a prefix can name.
ON_OBJECTS = {"s3:GetObject", "s3:PutObject", "s3:DeleteObject"}
# Actions that AWS defines without a resource.
WITHOUT_RESOURCE = {"xray:PutTraceSegments", "xray:PutTelemetryRecords"}


@dataclass
class Template:
    """A SAM template and what SAM makes of it."""

    source: dict
    resources: dict  # of the translated template

    def translated(self, kind):
        return {name: it for name, it in self.resources.items() if it["Type"] == kind}

    def functions(self):
        """The properties of the source's functions, by name."""
        return {name: it["Properties"] for name, it in self.source["Resources"].items() if it["Type"] == "AWS::Serverless::Function"}

    def events(self, kind):
        """(function, event, properties of the event)"""
        for function, properties in self.functions().items():
            for event, definition in properties.get("Events", {}).items():
                if definition["Type"] == kind:
                    yield function, event, definition["Properties"]

    def paths(self):
        """The paths of all REST APIs, with their methods."""
        for api in self.translated("AWS::ApiGateway::RestApi").values():
            yield from api["Properties"].get("Body", {}).get("paths", {}).items()

    def integrations(self):
        """(path, method, integration)"""
        for path, methods in self.paths():
            for method, operation in methods.items():
                if "x-amazon-apigateway-integration" in operation:
                    yield path, method, operation["x-amazon-apigateway-integration"]


def translate(source):
    """The template as CloudFormation gets it, every parameter at its default."""
    source = copy.deepcopy(source)
    for resource in source["Resources"].values():
        if resource["Type"] == "AWS::Serverless::Function":
            resource["Properties"]["CodeUri"] = "s3://bucket/key"  # `sam package` replaces local paths; only S3 is accepted
    parameters = {name: it["Default"] for name, it in source.get("Parameters", {}).items() if "Default" in it}
    managed_policies = {
        name: f"arn:aws:iam::aws:policy/service-role/{name}" for name in ("AWSLambdaBasicExecutionRole", "AWSLambdaSQSQueueExecutionRole")
    }
    translator = Translator(managed_policies, Parser(), boto_session=boto3.Session(region_name="us-east-1"))
    return translator.translate(source, parameters)


def load(text):
    source = yaml_parse(text)
    return Template(source, translate(source)["Resources"])


def nodes(value):
    """Every mapping within a value."""
    if isinstance(value, dict):
        yield value
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from nodes(item)


def mentioned(value):
    """The logical ids that a value refers to."""
    for node in nodes(value):
        if isinstance(node.get("Ref"), str):
            yield node["Ref"]
        attribute = node.get("Fn::GetAtt")
        if attribute:
            yield (attribute if isinstance(attribute, str) else attribute[0]).split(".")[0]
        text, given = node.get("Fn::Sub"), {}
        if isinstance(text, list):
            text, given = text
        for name in re.findall(r"\$\{([^!}][^}]*)\}", text or ""):
            if name.strip() not in given:
                yield name.strip().split(".")[0]


def statements(template):
    """(resource, statement) of every policy that is written down in the stack."""
    for name, resource in template.resources.items():
        if not resource["Type"].startswith("AWS::IAM::"):
            continue
        properties = resource["Properties"]
        documents = [policy["PolicyDocument"] for policy in properties.get("Policies", [])]
        documents += [properties["PolicyDocument"]] if "PolicyDocument" in properties else []
        for document in documents:
            for statement in listed(document["Statement"]):
                yield name, statement


def is_folder(resource):
    """Whether it is everything under one prefix of a bucket of this stack: `${Bucket.Arn}/prefix/*`."""
    text = resource.get("Fn::Sub") if isinstance(resource, dict) else None
    return isinstance(text, str) and re.fullmatch(r"\$\{[A-Za-z0-9]+\.Arn\}/[a-z-]+/\*", text) is not None


def listed(value):
    return value if isinstance(value, list) else [] if value is None else [value]


def api_nodes(template):
    """The resources that API Gateway makes of the paths: one for each distinct prefix."""
    return {path[: match.end()] for path, _ in template.paths() for match in re.finditer(r"/[^/]+", path)} | {"/"}


def permission_sizes(template):
    """Bytes of each function's resource policy, with names as long as they may become."""
    sizes = {}
    for name, resource in template.translated("AWS::Lambda::Permission").items():
        properties = resource["Properties"]
        function = next(mentioned(properties["FunctionName"]))
        source = properties.get("SourceArn", "")
        if isinstance(source, dict):
            text = source.get("Fn::Sub", "")
            source = re.sub(r"\$\{[^}]+\}", "x" * 20, text[0] if isinstance(text, list) else text)
        statement = {
            "Sid": "s" * 20 + f"-{name}-ABCDEFGHIJKL",
            "Effect": "Allow",
            "Principal": {"Service": properties["Principal"]},
            "Action": "lambda:InvokeFunction",
            "Resource": "arn:aws:lambda:ap-southeast-1:123456789012:function:" + "f" * 64,
            "Condition": {"ArnLike": {"AWS:SourceArn": source}},
        }
        sizes[function] = sizes.get(function, 0) + len(json.dumps(statement, separators=(",", ":")))
    return sizes


# The rules. Each takes a Template and yields what is wrong.


def no_two_variable_names_stand_beside_each_other(template):
    """API Gateway refuses to deploy them."""
    names = {}
    for node in api_nodes(template):
        parent, _, last = node.rpartition("/")
        if last.startswith("{"):
            names.setdefault(parent, set()).add(last)
    for parent, found in sorted(names.items()):
        if len(found) > 1:
            yield f"{parent}/ has {' and '.join(sorted(found))}"


def a_greedy_variable_comes_with_its_bare_prefix(template):
    """`/a/{proxy+}` does not match `/a`."""
    paths = dict(template.paths())
    for path in paths:
        if path.endswith("+}") and (path.rpartition("/")[0] or "/") not in paths:
            yield f"{path} without {path.rpartition('/')[0] or '/'}"


def a_prefix_with_a_greedy_variable_has_one_owner(template):
    """Else what a path does depends on which routes stand beside it."""
    owners = {}
    for function, _, event in template.events("Api"):
        owners.setdefault(event["Path"], set()).add(function)
    for path in owners:
        if path.endswith("+}"):
            prefix = path.rpartition("/")[0]
            found = {owner for other, them in owners.items() if other == prefix or other.startswith(prefix + "/") for owner in them}
            if len(found) > 1:
                yield f"{path} is shared by {', '.join(sorted(found))}"


def no_route_is_declared_twice(template):
    """ANY includes every other method; two events for one request would leave it open who answers."""
    methods = {}
    for function, event, properties in template.events("Api"):
        methods.setdefault(properties["Path"], []).append((properties["Method"].upper(), f"{function}.{event}"))
    for path, found in methods.items():
        kinds = [method for method, _ in found]
        if len(kinds) > 1 and ("ANY" in kinds or len(set(kinds)) < len(kinds)):
            yield f"{path} is claimed by {', '.join(f'{event} ({method})' for method, event in found)}"


def the_api_has_few_enough_resources(template):
    count = len(api_nodes(template))
    if count > MAX_API_RESOURCES:
        yield f"{count} API resources, at most {MAX_API_RESOURCES}"


def the_stack_has_few_enough_resources(template):
    count = len(template.resources)
    if count > MAX_STACK_RESOURCES:
        yield f"{count} stack resources, at most {MAX_STACK_RESOURCES}"


def a_function_has_few_enough_api_events(template):
    events = [function for function, _, _ in template.events("Api")]
    for function in sorted(set(events)):
        if events.count(function) > MAX_API_EVENTS:
            yield f"{function} has {events.count(function)} Api events, at most {MAX_API_EVENTS}"


def a_function_policy_stays_within_what_lambda_accepts(template):
    """Every event adds a statement that lets API Gateway call the function."""
    for function, size in permission_sizes(template).items():
        if size > MAX_FUNCTION_POLICY:
            yield f"{function}'s resource policy takes up to {size} bytes, at most {MAX_FUNCTION_POLICY}"


def resources_do_not_depend_on_each_other_in_a_circle(template):
    """CloudFormation finds that out only at deployment."""
    graph = {
        name: sorted({other for other in [*mentioned(it), *listed(it.get("DependsOn"))] if other in template.resources})
        for name, it in template.resources.items()
    }
    done, trail = set(), []

    def visit(name):
        if name in trail:
            return [*trail[trail.index(name) :], name]
        if name in done:
            return None
        trail.append(name)
        circle = next(filter(None, map(visit, graph[name])), None)
        trail.pop()
        done.add(name)
        return circle

    for name in graph:
        circle = visit(name)
        if circle:
            yield " -> ".join(circle)


def no_function_variable_mentions_an_api(template):
    """An API's definition names its functions, so that would be a circle."""
    apis = {name for name, it in template.resources.items() if it["Type"].startswith("AWS::ApiGateway::")}
    for name, function in template.translated("AWS::Lambda::Function").items():
        variables = function["Properties"].get("Environment", {}).get("Variables", {})
        for variable, value in variables.items():
            for api in apis.intersection(mentioned(value)):
                yield f"{name}: {variable} mentions {api}"


def streaming_routes_stream(template):
    """Only RESPONSE_STREAM makes SAM write the streaming integration, and lambda_http then streams every answer of the function."""
    events = list(template.events("Api"))
    streaming = {function for function, _, event in events if "ResponseTransferMode" in event}
    integrations = {(path, method): integration for path, method, integration in template.integrations()}
    for function, name, event in events:
        if function not in streaming:
            continue
        method = event["Method"].lower()
        integration = integrations.get((event["Path"], "x-amazon-apigateway-any-method" if method == "any" else method), {})
        uri = integration.get("uri", "")
        uri = uri.get("Fn::Sub", "") if isinstance(uri, dict) else uri
        if not str(uri).endswith(STREAMING_URI % function) or integration.get("responseTransferMode") != "STREAM":
            yield f"{function}.{name} {event['Path']} is buffered: {uri}"


def a_route_waits_as_long_as_its_function_may_take(template):
    """API Gateway gives up after 29 seconds if the route does not say more, streaming or not."""
    for function, name, event in template.events("Api"):
        timeout = 1000 * template.resources[function]["Properties"].get("Timeout", 3)
        wait = event.get("TimeoutInMillis", MAX_INTEGRATION)
        if wait < timeout:
            yield f"{function}.{name}: {wait} ms, its function may take {timeout} ms"


def policies_name_their_actions(template):
    for name, statement in statements(template):
        if "NotAction" in statement:
            yield f"{name}: NotAction"
        for action in listed(statement.get("Action")):
            if "*" in action or "?" in action:
                yield f"{name}: {action}"


def policies_name_their_resources(template):
    for name, statement in statements(template):
        actions = listed(statement.get("Action"))
        if "NotResource" in statement:
            yield f"{name}: NotResource"
        for resource in listed(statement.get("Resource")):
            if resource == "*" and actions and set(actions) <= WITHOUT_RESOURCE:
                continue
            if actions and set(actions) <= ON_OBJECTS and is_folder(resource):
                continue
            if "*" in json.dumps(resource):
                yield f"{name}: {', '.join(actions)} on {resource if isinstance(resource, str) else json.dumps(resource)}"


def roles_use_no_managed_policy_but_those_for_logs_and_traces(template):
    """Managed policies reach every resource of a kind; SAM attaches one for each queue or stream event."""
    for name, role in template.translated("AWS::IAM::Role").items():
        for arn in role["Properties"].get("ManagedPolicyArns", []):
            if not isinstance(arn, str) or arn.rpartition("/")[2] not in ATTACHED_BY_SAM:
                yield f"{name}: {arn if isinstance(arn, str) else json.dumps(arn)}"


def no_policy_allows_a_scan(template):
    for name, statement in statements(template):
        for action in listed(statement.get("Action")):
            if action.lower() in ("dynamodb:scan", "dynamodb:partiqlselect"):
                yield f"{name}: {action}"


def tables_buckets_and_secrets_outlive_the_stack(template):
    kept = ("AWS::DynamoDB::Table", "AWS::DynamoDB::GlobalTable", "AWS::S3::Bucket", "AWS::S3::BucketPolicy", "AWS::SecretsManager::Secret")
    for name, resource in template.resources.items():
        if resource["Type"] in kept:
            for policy in ("DeletionPolicy", "UpdateReplacePolicy"):
                if resource.get(policy) != "Retain":
                    yield f"{name}: {policy} is {resource.get(policy)}"


def buckets_are_closed(template):
    """Encrypted, of one owner, public in no way, and reached over TLS alone."""
    over_tls = set()
    for policy in template.translated("AWS::S3::BucketPolicy").values():
        properties = policy["Properties"]
        bucket = next(mentioned(properties["Bucket"]), None)
        for statement in listed(properties["PolicyDocument"]["Statement"]):
            is_for_all = statement.get("Principal") == "*" and statement.get("Action") == "s3:*"
            condition = statement.get("Condition", {}).get("Bool", {})
            if statement["Effect"] == "Deny" and is_for_all and condition == {"aws:SecureTransport": "false"}:
                on = [next(mentioned(resource), None) for resource in listed(statement["Resource"])]
                if on.count(bucket) == 2:  # itself and what is in it
                    over_tls.add(bucket)
            elif statement["Effect"] != "Deny":
                yield f"{bucket}: its policy allows something"
    for name, bucket in template.translated("AWS::S3::Bucket").items():
        properties = bucket["Properties"]
        if not properties.get("BucketEncryption"):
            yield f"{name} is not encrypted"
        if [*properties.get("PublicAccessBlockConfiguration", {}).values()] != [True] * 4:
            yield f"{name} may become public"
        if properties.get("OwnershipControls") != {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}:
            yield f"{name} takes access control lists"
        if name not in over_tls:
            yield f"{name} is reached without TLS"


def every_function_logs_to_a_group_with_retention(template):
    """The group that Lambda makes by itself keeps logs for ever."""
    groups = template.translated("AWS::Logs::LogGroup")
    for name, function in template.translated("AWS::Lambda::Function").items():
        group = function["Properties"].get("LoggingConfig", {}).get("LogGroup", {})
        group = groups.get(group.get("Ref") if isinstance(group, dict) else None)
        if group is None:
            yield f"{name} has no log group of this stack"
        elif "RetentionInDays" not in group["Properties"]:
            yield f"{name}'s log group has no retention"


def every_function_ignores_the_stage_in_the_path(template):
    """Else routers see `/dev/healthz` and answer 404."""
    for name, function in template.translated("AWS::Lambda::Function").items():
        variables = function["Properties"].get("Environment", {}).get("Variables", {})
        if "AWS_LAMBDA_HTTP_IGNORE_STAGE_IN_PATH" not in variables:
            yield name


def every_function_is_watched(template):
    """An alarm, here or in a nested template, is given its name."""
    watched = {*mentioned(list(template.translated("AWS::CloudFormation::Stack").values()))}
    watched |= {*mentioned(list(template.translated("AWS::CloudWatch::Alarm").values()))}
    for name in template.translated("AWS::Lambda::Function"):
        if name not in watched:
            yield name


def a_queue_event_reports_which_messages_failed(template):
    """Else one bad message brings the whole batch back."""
    for function, event, properties in template.events("SQS"):
        if "ReportBatchItemFailures" not in properties.get("FunctionResponseTypes", []):
            yield f"{function}.{event}"


def a_queue_hides_a_message_for_six_times_its_consumers_timeout(template):
    """Else a message that is still worked on comes a second time."""
    for function, event, properties in template.events("SQS"):
        queue = template.resources[next(mentioned(properties["Queue"]))]["Properties"]
        timeout = template.resources[function]["Properties"].get("Timeout", 3)
        if queue.get("VisibilityTimeout", 30) < 6 * timeout:
            yield f"{function}.{event}: {queue.get('VisibilityTimeout', 30)} s, six times the timeout is {6 * timeout} s"


def the_gateways_own_answers_carry_one_body(template):
    """Each dialect looks for its own field, and a browser for the CORS header."""
    wanted = {"success", "error", "message", "detail", "errors", "request_id"}
    for name, api in template.source["Resources"].items():
        if api["Type"] != "AWS::Serverless::Api":
            continue
        responses = api["Properties"].get("GatewayResponses", {})
        for kind in ("DEFAULT_4XX", "DEFAULT_5XX"):
            if kind not in responses:
                yield f"{name} has no {kind}"
        if responses.get("MISSING_AUTHENTICATION_TOKEN", {}).get("StatusCode") != 404:
            yield f"{name}: a missing route does not answer 404"
        for kind, response in responses.items():
            try:
                body = json.loads(response["ResponseTemplates"]["application/json"])
            except (KeyError, ValueError):
                yield f"{name}: {kind} has no JSON body"
                continue
            if set(body) != wanted or set(body["errors"]) != {"detail"} or body["success"] is not False:
                yield f"{name}: the body of {kind} is not the common one"
            if "Access-Control-Allow-Origin" not in response.get("ResponseParameters", {}).get("Headers", {}):
                yield f"{name}: {kind} has no CORS header"


def the_api_logs_requests_but_not_what_is_secret_in_them(template):
    """A query or a header may hold a credential."""
    for name, stage in template.translated("AWS::ApiGateway::Stage").items():
        setting = stage["Properties"].get("AccessLogSetting", {})
        formats = [node["Format"] for node in nodes(setting) if "Format" in node]
        if not formats:
            yield f"{name} keeps no access log"
        for secret in ("header.", "querystring", "authorizer", "$context.requestOverride"):
            if any(secret in format for format in formats):
                yield f"{name}: the access log holds {secret}"


def an_api_with_a_domain_has_no_other_address(template):
    """Requests to the default endpoint go around what is set for the domain, such as its TLS policy."""
    for domain, it in template.source["Resources"].items():
        if it["Type"] != "AWS::ApiGateway::DomainName":
            continue
        condition = it.get("Condition")
        wanted = {"Fn::If": [condition, True, False]} if condition else True
        for name, api in template.source["Resources"].items():
            if api["Type"] == "AWS::Serverless::Api" and api["Properties"].get("DisableExecuteApiEndpoint") != wanted:
                yield f"{name} is still at its default endpoint beside {domain}"


def the_firewall_stands_before_the_api(template):
    """A nested stack with the stage's ARN in a parameter: nothing else says that it is attached to anything."""
    firewalls = {name: it for name, it in template.source["Resources"].items() if str(it.get("Properties", {}).get("Location", "")).endswith("firewall.yaml")}
    if not firewalls:
        yield "there is no firewall"
    for name, it in firewalls.items():
        parameters = it["Properties"].get("Parameters", {})
        apis = [api for api, other in template.source["Resources"].items() if other["Type"] == "AWS::Serverless::Api"]
        stage = str(parameters.get("StageArn", {}).get("Fn::Sub", ""))
        if not any(stage.endswith(f":/restapis/${{{api}}}/stages/${{{api}.Stage}}") for api in apis):
            yield f"{name}: StageArn is not that of the API's stage"
        limit = parameters.get("RequestsPer5MinutesPerAddress")
        is_wanted = {"Fn::Not": [{"Fn::Equals": [limit, "0"]}]}
        if template.source.get("Conditions", {}).get(it.get("Condition")) != is_wanted:
            yield f"{name} is not there whenever there is a limit"


def binaries_come_built(template):
    """`sam build` would build function by function, with another profile."""
    for name, properties in template.functions().items():
        if template.source["Resources"][name].get("Metadata", {}).get("SkipBuild") is not True:
            yield f"{name} has no SkipBuild"
        if not re.fullmatch(r"target/lambda/[a-z-]+/", str(properties.get("CodeUri"))):
            yield f"{name}: CodeUri {properties.get('CodeUri')}"


RULES = [
    no_two_variable_names_stand_beside_each_other,
    a_greedy_variable_comes_with_its_bare_prefix,
    a_prefix_with_a_greedy_variable_has_one_owner,
    no_route_is_declared_twice,
    the_api_has_few_enough_resources,
    the_stack_has_few_enough_resources,
    a_function_has_few_enough_api_events,
    a_function_policy_stays_within_what_lambda_accepts,
    resources_do_not_depend_on_each_other_in_a_circle,
    no_function_variable_mentions_an_api,
    streaming_routes_stream,
    a_route_waits_as_long_as_its_function_may_take,
    policies_name_their_actions,
    policies_name_their_resources,
    roles_use_no_managed_policy_but_those_for_logs_and_traces,
    no_policy_allows_a_scan,
    tables_buckets_and_secrets_outlive_the_stack,
    buckets_are_closed,
    every_function_logs_to_a_group_with_retention,
    every_function_ignores_the_stage_in_the_path,
    every_function_is_watched,
    a_queue_event_reports_which_messages_failed,
    a_queue_hides_a_message_for_six_times_its_consumers_timeout,
    the_gateways_own_answers_carry_one_body,
    the_api_logs_requests_but_not_what_is_secret_in_them,
    an_api_with_a_domain_has_no_other_address,
    the_firewall_stands_before_the_api,
    binaries_come_built,
]

# The self-test: a template that keeps every rule, and one way to break each.

SOUND = """
Transform: AWS::Serverless-2016-10-31
Parameters: { Limit: { Type: String, Default: '0' } }
Conditions:
  HasDomain: !Equals [!Ref 'AWS::Region', us-east-1]
  HasLimit: !Not [!Equals [!Ref Limit, '0']]
Globals:
  Function:
    Runtime: provided.al2023
    Tracing: Active
    Environment: { Variables: { AWS_LAMBDA_HTTP_IGNORE_STAGE_IN_PATH: '1', TABLE: !Ref Table } }
Resources:
  Api:
    Type: AWS::Serverless::Api
    Properties:
      StageName: dev
      OpenApiVersion: '3.0.1'
      DisableExecuteApiEndpoint: !If [HasDomain, true, false]
      AccessLogSetting: { DestinationArn: !GetAtt ApiLogs.Arn, Format: '{"path":"$context.path"}' }
      GatewayResponses:
        MISSING_AUTHENTICATION_TOKEN: &answer
          StatusCode: 404
          ResponseParameters: { Headers: { Access-Control-Allow-Origin: "'*'" } }
          ResponseTemplates:
            application/json: '{"success":false,"error":"x","message":"x","detail":"x","errors":{"detail":"x"},"request_id":"x"}'
        DEFAULT_4XX: *answer
        DEFAULT_5XX: *answer
  ApiLogs: { Type: AWS::Logs::LogGroup, Properties: { RetentionInDays: 7 } }
  Domain: { Type: AWS::ApiGateway::DomainName, Condition: HasDomain, Properties: { DomainName: example.com } }
  Web:
    Type: AWS::Serverless::Function
    Metadata: { SkipBuild: true }
    Properties:
      CodeUri: target/lambda/web/
      Handler: bootstrap
      LoggingConfig: { LogGroup: !Ref WebLogs }
      Policies:
        - Version: '2012-10-17'
          Statement:
            - { Effect: Allow, Action: [dynamodb:Query], Resource: [!GetAtt Table.Arn, !Sub '${Table.Arn}/index/GSI1'] }
            - { Effect: Allow, Action: [s3:GetObject], Resource: !Sub '${Bucket.Arn}/v/*' }
      Events:
        Things: { Type: Api, Properties: { RestApiId: !Ref Api, Path: /things, Method: ANY } }
        Thing: { Type: Api, Properties: { RestApiId: !Ref Api, Path: '/things/{id}', Method: GET } }
        Files: { Type: Api, Properties: { RestApiId: !Ref Api, Path: /files, Method: ANY } }
        AllFiles: { Type: Api, Properties: { RestApiId: !Ref Api, Path: '/files/{proxy+}', Method: ANY } }
  WebLogs: { Type: AWS::Logs::LogGroup, Properties: { RetentionInDays: 7 } }
  Stream:
    Type: AWS::Serverless::Function
    Metadata: { SkipBuild: true }
    Properties:
      CodeUri: target/lambda/stream/
      Handler: bootstrap
      LoggingConfig: { LogGroup: !Ref StreamLogs }
      Events:
        Chat: { Type: Api, Properties: { RestApiId: !Ref Api, Path: /chat, Method: POST, ResponseTransferMode: RESPONSE_STREAM } }
  StreamLogs: { Type: AWS::Logs::LogGroup, Properties: { RetentionInDays: 7 } }
  Worker:
    Type: AWS::Serverless::Function
    Metadata: { SkipBuild: true }
    Properties:
      CodeUri: target/lambda/worker/
      Handler: bootstrap
      Timeout: 10
      Role: !GetAtt ConsumerRole.Arn
      LoggingConfig: { LogGroup: !Ref WorkerLogs }
      Events:
        Work: { Type: SQS, Properties: { Queue: !GetAtt Queue.Arn, FunctionResponseTypes: [ReportBatchItemFailures] } }
  WorkerLogs: { Type: AWS::Logs::LogGroup, Properties: { RetentionInDays: 7 } }
  ConsumerRole:
    Type: AWS::IAM::Role
    Properties:
      AssumeRolePolicyDocument: {}
      Policies:
        - PolicyName: Worker
          PolicyDocument:
            Statement:
              - { Effect: Allow, Action: sqs:ReceiveMessage, Resource: !GetAtt Queue.Arn }
              - { Effect: Allow, Action: [xray:PutTraceSegments], Resource: '*' }
  Queue: { Type: AWS::SQS::Queue, Properties: { VisibilityTimeout: 60 } }
  Table: { Type: AWS::DynamoDB::Table, DeletionPolicy: Retain, UpdateReplacePolicy: Retain, Properties: {} }
  Bucket:
    Type: AWS::S3::Bucket
    DeletionPolicy: Retain
    UpdateReplacePolicy: Retain
    Properties:
      BucketEncryption: { ServerSideEncryptionConfiguration: [{ ServerSideEncryptionByDefault: { SSEAlgorithm: AES256 } }] }
      PublicAccessBlockConfiguration: { BlockPublicAcls: true, BlockPublicPolicy: true, IgnorePublicAcls: true, RestrictPublicBuckets: true }
      OwnershipControls: { Rules: [{ ObjectOwnership: BucketOwnerEnforced }] }
  BucketPolicy:
    Type: AWS::S3::BucketPolicy
    DeletionPolicy: Retain
    UpdateReplacePolicy: Retain
    Properties:
      Bucket: !Ref Bucket
      PolicyDocument:
        Statement:
          - Effect: Deny
            Principal: '*'
            Action: s3:*
            Resource: [!GetAtt Bucket.Arn, !Sub '${Bucket.Arn}/*']
            Condition: { Bool: { aws:SecureTransport: 'false' } }
  Secret: { Type: AWS::SecretsManager::Secret, DeletionPolicy: Retain, UpdateReplacePolicy: Retain, Properties: {} }
  Firewall:
    Type: AWS::Serverless::Application
    Condition: HasLimit
    Properties:
      Location: firewall.yaml
      Parameters:
        StageArn: !Sub 'arn:aws:apigateway:eu-west-1::/restapis/${Api}/stages/${Api.Stage}'
        RequestsPer5MinutesPerAddress: !Ref Limit
  Alarms:
    Type: AWS::Serverless::Application
    Properties: { Location: alarms.yaml, Parameters: { Web: !Ref Web, Stream: !Ref Stream, Worker: !Ref Worker } }
"""


def with_routes(*paths, method="ANY", function="Web"):
    def change(source):
        for number, path in enumerate(paths):
            properties = {"RestApiId": {"Ref": "Api"}, "Path": path, "Method": method}
            source["Resources"][function]["Properties"]["Events"][f"Added{number}"] = {"Type": "Api", "Properties": properties}

    return change


def at(place, value):
    """Merges a mapping into what stands at a place like `Web/Properties`, else puts the value there; None removes it."""

    def change(source):
        target = source["Resources"]
        *parents, last = (int(step) if step.isdigit() else step for step in place.split("/"))
        for step in parents:
            target = target[step]
        if value is None:
            del target[last]
        elif isinstance(value, dict) and last in target:
            target[last] = target[last] | value
        else:
            target[last] = value

    return change


def with_many_resources(source):
    for number in range(MAX_STACK_RESOURCES):
        source["Resources"][f"Queue{number}"] = {"Type": "AWS::SQS::Queue"}


def without_the_stage_variable(source):
    del source["Globals"]["Function"]["Environment"]["Variables"]["AWS_LAMBDA_HTTP_IGNORE_STAGE_IN_PATH"]


STATEMENT = "Web/Properties/Policies/0/Statement/0"
OBJECTS_STATEMENT = "Web/Properties/Policies/0/Statement/1"
DENIAL = "BucketPolicy/Properties/PolicyDocument/Statement/0"
ROLE_STATEMENT = "ConsumerRole/Properties/Policies/0/PolicyDocument/Statement/0"
MENTIONS_THE_API = at("Web/Properties/Environment", {"Variables": {"URL": {"Fn::Sub": "https://${Api}.example.com"}}})

# What is broken, and the rules that must notice: exactly these.
BREAKAGES = [
    (with_routes("/things/{name}/parts"), [no_two_variable_names_stand_beside_each_other]),
    (with_routes("/files/{id}"), [no_two_variable_names_stand_beside_each_other]),
    (with_routes("/other/{proxy+}"), [a_greedy_variable_comes_with_its_bare_prefix]),
    (with_routes("/files/new", function="Worker"), [a_prefix_with_a_greedy_variable_has_one_owner]),
    (with_routes("/things", method="GET"), [no_route_is_declared_twice]),
    (with_routes(*("".join(f"/{letter}{number}" for letter in "abcdefghij") for number in range(30))), [the_api_has_few_enough_resources]),
    (with_many_resources, [the_stack_has_few_enough_resources]),
    (with_routes(*(f"/added-{number}" for number in range(MAX_API_EVENTS - 3))), [a_function_has_few_enough_api_events]),
    (with_routes(*("/long-folder-name" * 20 + f"/{number}" for number in range(30))), [a_function_policy_stays_within_what_lambda_accepts]),
    (at("Queue/DependsOn", "Worker"), [resources_do_not_depend_on_each_other_in_a_circle]),
    (MENTIONS_THE_API, [resources_do_not_depend_on_each_other_in_a_circle, no_function_variable_mentions_an_api]),
    (at("Stream/Properties/Events/Chat/Properties/ResponseTransferMode", "STREAM"), [streaming_routes_stream]),
    (with_routes("/stop", function="Stream"), [streaming_routes_stream]),
    (at("Stream/Properties/Timeout", 900), [a_route_waits_as_long_as_its_function_may_take]),
    (at("Web/Properties/Timeout", 30), [a_route_waits_as_long_as_its_function_may_take]),
    (at(f"{STATEMENT}/Action", ["dynamodb:*"]), [policies_name_their_actions]),
    (at(f"{ROLE_STATEMENT}/Action", "sqs:Receive*"), [policies_name_their_actions]),
    (at(f"{ROLE_STATEMENT}/NotAction", "sqs:SendMessage"), [policies_name_their_actions]),
    (at(f"{STATEMENT}/Resource", "*"), [policies_name_their_resources]),
    (at(f"{STATEMENT}/Resource", [{"Fn::Sub": "${Table.Arn}/index/*"}]), [policies_name_their_resources]),
    (at(f"{OBJECTS_STATEMENT}/Resource", {"Fn::Sub": "${Bucket.Arn}/*"}), [policies_name_their_resources]),
    (at(f"{OBJECTS_STATEMENT}/Action", ["s3:GetObject", "s3:ListBucket"]), [policies_name_their_resources]),
    (at(f"{ROLE_STATEMENT}/NotResource", "x"), [policies_name_their_resources]),
    (at(f"{ROLE_STATEMENT}", {"Action": ["xray:PutTraceSegments", "sqs:SendMessage"], "Resource": "*"}), [policies_name_their_resources]),
    (at("Worker/Properties/Role", None), [roles_use_no_managed_policy_but_those_for_logs_and_traces]),
    (at(f"{STATEMENT}/Action", ["dynamodb:Query", "dynamodb:Scan"]), [no_policy_allows_a_scan]),
    (at("Table/DeletionPolicy", "Delete"), [tables_buckets_and_secrets_outlive_the_stack]),
    (at("Table/UpdateReplacePolicy", None), [tables_buckets_and_secrets_outlive_the_stack]),
    (at("Secret/DeletionPolicy", None), [tables_buckets_and_secrets_outlive_the_stack]),
    (at("Bucket/DeletionPolicy", None), [tables_buckets_and_secrets_outlive_the_stack]),
    (at("BucketPolicy/DeletionPolicy", None), [tables_buckets_and_secrets_outlive_the_stack]),
    (at("BucketPolicy", None), [buckets_are_closed]),
    (at("Bucket/Properties/BucketEncryption", None), [buckets_are_closed]),
    (at("Bucket/Properties/OwnershipControls", None), [buckets_are_closed]),
    (at("Bucket/Properties/PublicAccessBlockConfiguration", {"BlockPublicPolicy": False}), [buckets_are_closed]),
    (at(f"{DENIAL}/Resource", [{"Fn::Sub": "${Bucket.Arn}/*"}]), [buckets_are_closed]),
    (at(f"{DENIAL}/Condition", None), [buckets_are_closed]),
    (at(f"{DENIAL}/Effect", "Allow"), [buckets_are_closed]),
    (at("Web/Properties/LoggingConfig", None), [every_function_logs_to_a_group_with_retention]),
    (at("WebLogs/Properties/RetentionInDays", None), [every_function_logs_to_a_group_with_retention]),
    (without_the_stage_variable, [every_function_ignores_the_stage_in_the_path]),
    (at("Alarms/Properties/Parameters/Stream", None), [every_function_is_watched]),
    (at("Worker/Properties/Events/Work/Properties/FunctionResponseTypes", None), [a_queue_event_reports_which_messages_failed]),
    (at("Worker/Properties/Timeout", 11), [a_queue_hides_a_message_for_six_times_its_consumers_timeout]),
    (at("Api/Properties/GatewayResponses/MISSING_AUTHENTICATION_TOKEN", {"StatusCode": 403}), [the_gateways_own_answers_carry_one_body]),
    (at("Api/Properties/GatewayResponses/DEFAULT_5XX", None), [the_gateways_own_answers_carry_one_body]),
    (at("Api/Properties/GatewayResponses/DEFAULT_4XX", {"ResponseTemplates": {"application/json": "{}"}}), [the_gateways_own_answers_carry_one_body]),
    (at("Api/Properties/GatewayResponses/DEFAULT_4XX", {"ResponseParameters": {}}), [the_gateways_own_answers_carry_one_body]),
    (at("Api/Properties/AccessLogSetting", None), [the_api_logs_requests_but_not_what_is_secret_in_them]),
    (at("Api/Properties/AccessLogSetting", {"Format": "$context.identity.sourceIp $method.request.querystring.token"}), [the_api_logs_requests_but_not_what_is_secret_in_them]),
    (at("Api/Properties/DisableExecuteApiEndpoint", None), [an_api_with_a_domain_has_no_other_address]),
    (at("Api/Properties/DisableExecuteApiEndpoint", {"Fn::If": ["HasDomain", False, True]}), [an_api_with_a_domain_has_no_other_address]),
    (at("Firewall", None), [the_firewall_stands_before_the_api]),
    (at("Firewall/Condition", None), [the_firewall_stands_before_the_api]),
    (at("Firewall/Condition", "HasDomain"), [the_firewall_stands_before_the_api]),
    (at("Firewall/Properties/Parameters/StageArn", {"Fn::Sub": "arn:aws:apigateway:eu-west-1::/restapis/${Api}/stages/other"}), [the_firewall_stands_before_the_api]),
    (at("Web/Metadata", {"SkipBuild": False}), [binaries_come_built]),
    (at("Web/Properties/CodeUri", "functions/web/"), [binaries_come_built]),
]


class SelfTest(unittest.TestCase):
    def test_a_sound_template_breaks_no_rule(self):
        self.assertEqual(broken(load(SOUND)), {})

    def test_each_breakage_is_noticed_by_its_rules_alone(self):
        for number, (change, rules) in enumerate(BREAKAGES):
            with self.subTest(number=number, rules=[rule.__name__ for rule in rules]):
                source = yaml_parse(SOUND)
                change(source)
                found = broken(Template(source, translate(source)["Resources"]))
                self.assertEqual(set(found), set(rules), found)

    def test_each_rule_has_a_breakage(self):
        self.assertEqual({rule for _, rules in BREAKAGES for rule in rules}, set(RULES))


def broken(template):
    """What is wrong, by rule."""
    found = {rule: list(rule(template)) for rule in RULES}
    return {rule: problems for rule, problems in found.items() if problems}


def numbers(template):
    yield f"{len(api_nodes(template))} API resources (at most {MAX_API_RESOURCES})"
    yield f"{len(template.resources)} stack resources (at most {MAX_STACK_RESOURCES})"
    events = [function for function, _, _ in template.events("Api")]
    sizes = permission_sizes(template)
    for function in sorted(set(events)):
        yield f"{function}: {events.count(function)} Api events (at most {MAX_API_EVENTS}), policy up to {sizes[function]} bytes"


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("template", nargs="?", type=Path, default=Path(__file__).parent.parent / "template.yaml")
    arguments.add_argument("--self-test", action="store_true", help="check this checker")
    options = arguments.parse_args()
    logging.disable(logging.WARNING)  # the translator warns about feature toggles that it has no use for

    if options.self_test:
        return 0 if unittest.main(argv=sys.argv[:1], exit=False).result.wasSuccessful() else 1
    try:
        template = load(options.template.read_text(encoding="utf-8"))
    except Exception as error:  # the translator raises many types; the message is what matters
        print(f"cannot translate {options.template}: {error}", file=sys.stderr)
        return 2
    for line in numbers(template):
        print(line)
    problems = broken(template)
    for rule, places in problems.items():
        for place in places:
            print(f"BROKEN {rule.__name__.replace('_', ' ')}: {place}", file=sys.stderr)
    if not problems:
        print(f"{len(RULES)} rules hold")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
