/** Checks Kubernetes manifests against the types generated from the schemas of Kubernetes and of KEDA. */
import ts from "typescript"
import { parseAllDocuments } from "yaml"
import { type Json, object } from "./cloudformation.js"

/** Parsed once: the schemas are large. */
const sources = new Map<string, ts.SourceFile | undefined>()

const types: Readonly<Record<string, readonly [module: string, name: string]>> = {
  ServiceAccount: ["kubernetes-models/v1", "IServiceAccount"],
  Deployment: ["kubernetes-models/apps/v1", "IDeployment"],
  TriggerAuthentication: ["@kubernetes-models/keda/keda.sh/v1alpha1", "ITriggerAuthentication"],
  ScaledObject: ["@kubernetes-models/keda/keda.sh/v1alpha1", "IScaledObject"]
}

export const read = (yaml: string): ReadonlyArray<Readonly<Record<string, Json>>> =>
  parseAllDocuments(yaml).map((document) => object(document.toJS() as Json))

/**
 * What the compiler finds wrong with them: an object literal may have no property that its type does not know. A file
 * that does not compile by itself, as when a type is not found, is reported too.
 */
export const problems = (manifests: ReadonlyArray<Readonly<Record<string, Json>>>): ReadonlyArray<string> => {
  const unknown = manifests.flatMap(({ kind }) =>
    types[String(kind)] === undefined ? [`no kind ${String(kind)}`] : []
  )
  if (unknown.length > 0) return unknown
  const text = manifests
    .map((manifest, i) => {
      const [module, name] = types[String(manifest["kind"])] ?? ["", ""]
      return `export const manifest${i}: import(${JSON.stringify(module)}).${name} = ${JSON.stringify(manifest, undefined, 2)}`
    })
    .join("\n")
  const file = new URL("../manifests.ts", import.meta.url).pathname
  const options: ts.CompilerOptions = {
    strict: true,
    noEmit: true,
    skipLibCheck: true,
    types: [],
    target: ts.ScriptTarget.ES2022,
    module: ts.ModuleKind.NodeNext,
    moduleResolution: ts.ModuleResolutionKind.NodeNext
  }
  const host = ts.createCompilerHost(options)
  const { fileExists, getSourceFile } = host
  host.fileExists = (name) => name === file || fileExists.call(host, name)
  host.getSourceFile = (name, languageVersion) => {
    if (name === file) return ts.createSourceFile(name, text, languageVersion)
    if (!sources.has(name)) sources.set(name, getSourceFile.call(host, name, languageVersion))
    return sources.get(name)
  }
  const program = ts.createProgram([file], options, host)
  return [...program.getGlobalDiagnostics(), ...ts.getPreEmitDiagnostics(program)].map(({ messageText }) =>
    ts.flattenDiagnosticMessageText(messageText, " ")
  )
}
