/** The deployments against the schemas of what they deploy, which are shown to find what is wrong; and what no schema knows. */
import { readFileSync } from "node:fs"
import { assert, describe, it } from "@effect/vitest"
import * as CloudFormation from "./support/cloudformation.js"
import * as Kubernetes from "./support/kubernetes.js"

const file = (name: string) => readFileSync(new URL(`../deploy/${name}`, import.meta.url), "utf8")
const { object } = CloudFormation
const at = (
  value: CloudFormation.Json | undefined,
  ...path: ReadonlyArray<string | number>
): CloudFormation.Json | undefined =>
  path.reduce<CloudFormation.Json | undefined>(
    (within, key) =>
      typeof key === "number" ? (Array.isArray(within) ? within[key] : undefined) : object(within)[key],
    value
  )

/** What a drain takes at the worst: pollGrace, drainDeadline, flushWithin, in seconds. */
const drain = (deadline: unknown) => 2 + Number(deadline) + 10

/** The file with one thing changed, which must be there. */
const broken = (text: string, from: string, to: string): string => {
  assert.include(text, from)
  return text.replace(from, to)
}

describe("the CloudFormation template", () => {
  const yaml = file("ecs.yaml")
  const template = CloudFormation.read(yaml)
  const properties = (name: string) => at(template, "Resources", name, "Properties")

  it("fits the specification of its resources, and what it refers to is there", () => {
    assert.deepStrictEqual(CloudFormation.problems(template), [])
    assert.strictEqual(Object.keys(object(template["Resources"])).length, 13)
  })

  it.each([
    ["VisibilityTimeout: 60", "VisibilityTimeOut: 60", "Orders: there is no property VisibilityTimeOut"],
    ["VisibilityTimeout: 60", "VisibilityTimeout: a minute", 'Orders.VisibilityTimeout: "a minute" is not a integer'],
    [
      "TargetValue: !Ref BacklogPerTask",
      "DisableScaleIn: false",
      "TargetTrackingScalingPolicyConfiguration: TargetValue is missing"
    ],
    ["Expression: IF", "Expresion: IF", "there is no property Expresion"],
    ["StopTimeout: 60", "StopTimeout: [60]", "StopTimeout: [60] is not a integer"],
    ["AssignPublicIp: DISABLED", "AssignPublicIp: OFF", 'AssignPublicIp: "OFF" is not one of'],
    ["            - CMD\n", "            - 5\n", "HealthCheck.Command[0]: 5 is not a string"],
    [
      "ComparisonOperator: GreaterThanThreshold",
      "Comparison: GreaterThanThreshold",
      "DeadLettersAlarm: there is no property Comparison"
    ],
    ["Type: AWS::ECS::Cluster", "Type: AWS::ECS::Clusters", "Cluster: there is no resource type AWS::ECS::Clusters"],
    ["!GetAtt Orders.QueueName", "!GetAtt Orders.Name", "Orders has no attribute Name"],
    ["Resource: !GetAtt Orders.Arn", "Resource: !GetAtt Order.Arn", "there is no Order"],
    ["{Cluster}/", "{Clusters}/", "Scaling.ResourceId: there is no Clusters"],
    ["      PolicyName: backlog-per-task\n", "", "BacklogPerTaskPolicy: PolicyName is missing"],
    ["MaxCapacity: !Ref MaxTasks", "MaxCapacity: 20", "the parameter MaxTasks is not used"]
  ])("a template that is wrong is found out: %s → %s", (from, to, problem) => {
    const found = CloudFormation.problems(CloudFormation.read(broken(yaml, from, to)))
    assert.isTrue(
      found.some((one) => one.includes(problem)),
      found.join("\n")
    )
  })

  it("a task has the time that its drain takes at the worst, which Fargate can grant", () => {
    const container = at(properties("Task"), "ContainerDefinitions", 0)
    const deadline = at(container, "Environment", 1)
    assert.strictEqual(at(deadline, "Name"), "DRAIN_DEADLINE_SECONDS")
    const stop = Number(at(container, "StopTimeout"))
    assert.isAtLeast(stop, drain(at(deadline, "Value")))
    assert.isAtMost(stop, 120)
  })

  it("failed messages go to the dead-letter queue, which takes them from this queue only", () => {
    assert.deepStrictEqual(at(properties("Orders"), "RedrivePolicy"), {
      deadLetterTargetArn: { "Fn::GetAtt": ["DeadLetters", "Arn"] },
      maxReceiveCount: 10
    })
    const { Orders, DeadLetters } = { Orders: properties("Orders"), DeadLetters: properties("DeadLetters") }
    const allowed = at(DeadLetters, "RedriveAllowPolicy")
    assert.strictEqual(at(allowed, "redrivePermission"), "byQueue")
    const [, name] = String(at(Orders, "QueueName", "Fn::Sub")).split("}")
    assert.isTrue(String(at(allowed, "sourceQueueArns", 0, "Fn::Sub")).endsWith(`}${name}`))
  })

  it("the roles may do what the consumer does, on these queues, and nothing else", () => {
    const statements = at(properties("TaskRole"), "Policies", 0, "PolicyDocument", "Statement")
    assert.deepStrictEqual(
      (Array.isArray(statements) ? statements : []).map((one) => [
        at(one, "Action"),
        at(one, "Resource", "Fn::GetAtt", 0)
      ]),
      [
        [
          [
            "sqs:GetQueueUrl",
            "sqs:GetQueueAttributes",
            "sqs:ReceiveMessage",
            "sqs:DeleteMessage",
            "sqs:ChangeMessageVisibility"
          ],
          "Orders"
        ],
        [["sqs:GetQueueUrl", "sqs:SendMessage"], "DeadLetters"]
      ]
    )
    assert.notInclude(JSON.stringify(template["Resources"]), ":*")
    // The login to ECR knows no narrower resource.
    assert.strictEqual(JSON.stringify(template["Resources"]).split('"*"').length - 1, 1)
  })

  it("the policy divides what waits by the tasks that run, of this queue and this service", () => {
    const metrics = at(
      properties("BacklogPerTaskPolicy"),
      "TargetTrackingScalingPolicyConfiguration",
      "CustomizedMetricSpecification",
      "Metrics"
    )
    const all = Array.isArray(metrics) ? metrics : []
    const returned = all.filter((metric) => at(metric, "ReturnData") === true)
    assert.strictEqual(returned.length, 1)
    const ids = new Set(all.map((metric) => at(metric, "Id")))
    for (const [name] of String(at(returned[0], "Expression")).matchAll(/\b[a-z]\w*/g))
      assert.isTrue(ids.has(name), name)
  })
})

describe("the CloudFormation template of a function", () => {
  const yaml = file("lambda.yaml")
  const template = CloudFormation.read(yaml)
  const properties = (name: string) => at(template, "Resources", name, "Properties")

  it("fits the specification of its resources, and what it refers to is there", () => {
    assert.deepStrictEqual(CloudFormation.problems(template), [])
    assert.strictEqual(Object.keys(object(template["Resources"])).length, 7)
  })

  it.each([
    ["BatchSize: 50", "BatchSizes: 50", "Mapping: there is no property BatchSizes"],
    ["Timeout: 30", "Timeout: half a minute", 'Function.Timeout: "half a minute" is not a integer'],
    ["FunctionName: !Ref Function", "FunctionName: !Ref Functions", "there is no Functions"]
  ])("a template that is wrong is found out: %s → %s", (from, to, problem) => {
    const found = CloudFormation.problems(CloudFormation.read(broken(yaml, from, to)))
    assert.isTrue(
      found.some((one) => one.includes(problem)),
      found.join("\n")
    )
  })

  it("answers are heeded, and a message is hidden for six times the function's timeout and the batch window", () => {
    assert.deepStrictEqual(at(properties("Mapping"), "FunctionResponseTypes"), ["ReportBatchItemFailures"])
    const window = Number(at(properties("Mapping"), "MaximumBatchingWindowInSeconds"))
    // Batches of more than 10 need a window.
    assert.isAtLeast(window, 1)
    const timeout = Number(at(properties("Function"), "Timeout"))
    assert.strictEqual(at(properties("Orders"), "VisibilityTimeout"), 6 * timeout + window)
  })

  it("the role names what it may use, and nothing else", () => {
    assert.notInclude(JSON.stringify(properties("Role")), "*")
  })
})

describe("the Kubernetes manifests", { timeout: 120_000 }, () => {
  const yaml = file("keda.yaml")
  const manifests = Kubernetes.read(yaml)
  const of = (kind: string) => manifests.find((one) => one["kind"] === kind) ?? assert.fail(`no ${kind}`)
  const pod = at(of("Deployment"), "spec", "template", "spec")

  it("fit the schemas of Kubernetes and KEDA, which find what is wrong", () => {
    assert.deepStrictEqual(Kubernetes.problems(manifests), [])
    for (const [from, to, problem] of [
      [
        "terminationGracePeriodSeconds: 60",
        "terminationGracePeriodSecond: 60",
        "terminationGracePeriodSecond\"' does not exist"
      ],
      ["pollingInterval: 30", "pollingIntervall: 30", "pollingIntervall\"' does not exist"],
      ["type: aws-sqs-queue\n      ", "", "Property '\"type\"' is missing"],
      ["provider: aws", "provider: true", "Type 'boolean' is not assignable"],
      ["kind: TriggerAuthentication", "kind: TriggerAuthentications", "no kind TriggerAuthentications"]
    ] as const) {
      const found = Kubernetes.problems(Kubernetes.read(broken(yaml, from, to)))
      assert.isTrue(
        found.some((one) => one.includes(problem)),
        `${to}: ${found.join("\n")}`
      )
    }
  })

  it("a pod has the time that its drain takes at the worst", () => {
    const deadline = at(pod, "containers", 0, "env", 2)
    assert.strictEqual(at(deadline, "name"), "DRAIN_DEADLINE_SECONDS")
    assert.isAtLeast(Number(at(pod, "terminationGracePeriodSeconds")), drain(at(deadline, "value")))
  })

  it("what refers to another names it", () => {
    const scaled = at(of("ScaledObject"), "spec")
    const name = (kind: string) => at(of(kind), "metadata", "name")
    assert.strictEqual(at(scaled, "scaleTargetRef", "name"), name("Deployment"))
    assert.strictEqual(at(scaled, "triggers", 0, "authenticationRef", "name"), name("TriggerAuthentication"))
    assert.strictEqual(at(pod, "serviceAccountName"), name("ServiceAccount"))
    assert.deepStrictEqual(
      at(of("Deployment"), "spec", "selector", "matchLabels"),
      at(of("Deployment"), "spec", "template", "metadata", "labels")
    )
    const port = at(pod, "containers", 0, "ports", 0, "name")
    for (const probe of ["readinessProbe", "livenessProbe"]) {
      assert.strictEqual(at(pod, "containers", 0, probe, "httpGet", "port"), port)
    }
  })

  it("the trigger says what KEDA's scaler of SQS reads, in strings: it has no schema of its own", () => {
    const { metadata, type } = object(at(of("ScaledObject"), "spec", "triggers", 0))
    assert.strictEqual(type, "aws-sqs-queue")
    // https://keda.sh/docs/latest/scalers/aws-sqs/
    const known = [
      "queueURL",
      "queueURLFromEnv",
      "queueLength",
      "activationQueueLength",
      "awsRegion",
      "awsEndpoint",
      "scaleOnInFlight",
      "scaleOnDelayed"
    ]
    for (const [key, value] of Object.entries(object(metadata))) {
      assert.include(known, key)
      assert.isString(value)
    }
    assert.strictEqual(at(metadata, "queueURL"), at(pod, "containers", 0, "env", 1, "value"))
  })
})
