/** Checks a CloudFormation template against AWS's own specification of its resources, as the CDK ships it. */
import { loadAwsServiceSpecSync } from "@aws-cdk/aws-service-spec"
import { parse } from "yaml"

export type Json = string | number | boolean | null | ReadonlyArray<Json> | { readonly [key: string]: Json }
type JsonObject = { readonly [key: string]: Json }

const isObject = (value: Json | undefined): value is JsonObject =>
  typeof value === "object" && value !== null && !Array.isArray(value)
export const object = (value: Json | undefined): JsonObject => (isObject(value) ? value : {})

/** A template as JSON: `!Ref`, `!Sub` and `!GetAtt` in their long form. */
export const read = (yaml: string): JsonObject =>
  object(
    parse(yaml, {
      customTags: [
        { tag: "!Ref", resolve: (value: string) => ({ Ref: value }) },
        { tag: "!Sub", resolve: (value: string) => ({ "Fn::Sub": value }) },
        { tag: "!GetAtt", resolve: (value: string) => ({ "Fn::GetAtt": value.split(".") }) }
      ]
    }) as Json
  )

const spec = loadAwsServiceSpecSync()
type Resource = ReturnType<typeof resourceOf>
type Property = NonNullable<Resource>["properties"][string]
type Type = Property["type"]

const resourceOf = (type: string) => spec.lookup("resource", "cloudFormationType", "equals", type)[0]

const pseudo = new Set(["AWS::Partition", "AWS::Region", "AWS::AccountId", "AWS::StackName", "AWS::URLSuffix"])

/** What is wrong with a template, a line each: nothing, if all is well. */
export const problems = (template: JsonObject): ReadonlyArray<string> => {
  const found: Array<string> = []
  const resources = object(template["Resources"])
  const parameters = object(template["Parameters"])
  const used = new Set<string>()

  const refers = (at: string, name: string, attribute?: string): void => {
    if (attribute === undefined) {
      used.add(name)
      if (!pseudo.has(name) && parameters[name] === undefined && resources[name] === undefined) {
        found.push(`${at}: there is no ${name}`)
      }
      return
    }
    const type = object(resources[name])["Type"]
    const known = typeof type === "string" ? resourceOf(type)?.attributes : undefined
    if (known === undefined) found.push(`${at}: there is no ${name}`)
    else if (known[attribute] === undefined) found.push(`${at}: ${name} has no attribute ${attribute}`)
  }

  /** Whether it is a reference; its target is checked. */
  const isReference = (at: string, value: Json): boolean => {
    if (!isObject(value)) return false
    const [key, ...more] = Object.keys(value)
    const target = value[key ?? ""]
    if (more.length > 0) return false
    if (key === "Ref" && typeof target === "string") {
      refers(at, target)
      return true
    }
    if (key === "Fn::Sub" && typeof target === "string") {
      for (const [, name = ""] of target.matchAll(/\$\{([^}]+)\}/g)) {
        const [resource = "", attribute] = name.split(".")
        refers(at, resource, attribute)
      }
      return true
    }
    if (key === "Fn::GetAtt" && Array.isArray(target)) {
      refers(at, String(target[0]), target.slice(1).join("."))
      return true
    }
    return false
  }

  /** References within what has no type of its own, as in a policy's document. */
  const references = (at: string, value: Json): void => {
    if (isReference(at, value)) return
    if (Array.isArray(value)) value.forEach((each, i) => references(`${at}[${i}]`, each))
    else if (isObject(value)) for (const [key, each] of Object.entries(value)) references(`${at}.${key}`, each)
  }

  const fits = (at: string, value: Json, type: Type): void => {
    if (isReference(at, value)) return
    const wrong = (expected: string) => found.push(`${at}: ${JSON.stringify(value)} is not ${expected}`)
    switch (type.type) {
      case "string":
        if (typeof value !== "string") wrong("a string")
        else if (type.allowedValues !== undefined && !type.allowedValues.includes(value)) {
          wrong(`one of ${type.allowedValues.join(", ")}`)
        }
        return
      case "integer":
      case "number":
        if (typeof value !== "number" || (type.type === "integer" && !Number.isInteger(value))) wrong(`a ${type.type}`)
        return
      case "boolean":
        if (typeof value !== "boolean") wrong("a boolean")
        return
      case "array":
        if (Array.isArray(value)) value.forEach((each, i) => fits(`${at}[${i}]`, each, type.element))
        else wrong("a list")
        return
      case "map":
        if (isObject(value)) for (const [key, each] of Object.entries(value)) fits(`${at}.${key}`, each, type.element)
        else wrong("a map")
        return
      case "ref":
        if (isObject(value)) holds(at, value, spec.get("typeDefinition", type.reference.$ref).properties)
        else wrong("an object")
        return
      case "tag":
        if (!isObject(value) || typeof value["Key"] !== "string" || value["Value"] === undefined) wrong("a tag")
        return
      case "union":
        if (isObject(value) && type.types.some((one) => one.type === "json")) references(at, value)
        else if (type.types.every((one) => one.type !== typeof value)) wrong("of any of its types")
        return
      case "json":
        references(at, value)
        return
      default:
        found.push(`${at}: the type ${type.type} is not checked yet`)
    }
  }

  const holds = (at: string, value: JsonObject, properties: Readonly<Record<string, Property>>): void => {
    for (const [key, each] of Object.entries(value)) {
      const property = properties[key]
      if (property === undefined) found.push(`${at}: there is no property ${key}`)
      else fits(`${at}.${key}`, each, property.type)
    }
    for (const [key, { required }] of Object.entries(properties)) {
      if (required === true && value[key] === undefined) found.push(`${at}: ${key} is missing`)
    }
  }

  for (const [name, each] of Object.entries(resources)) {
    const { Type: type, Properties: properties, ...rest } = object(each)
    const resource = typeof type === "string" ? resourceOf(type) : undefined
    if (resource === undefined) found.push(`${name}: there is no resource type ${String(type)}`)
    else holds(name, object(properties), resource.properties)
    for (const key of Object.keys(rest)) {
      if (!["DeletionPolicy", "UpdateReplacePolicy", "DependsOn"].includes(key))
        found.push(`${name}: ${key} is unknown`)
    }
  }
  for (const [name, output] of Object.entries(object(template["Outputs"]))) references(`Outputs.${name}`, output)
  for (const name of Object.keys(parameters)) if (!used.has(name)) found.push(`the parameter ${name} is not used`)
  return found
}
