// Objects, buffers outside the heap, compression, hashes, worker threads and a
// child process; prints only what is the same in each run.
import { Worker, isMainThread, parentPort, workerData } from 'node:worker_threads';
import { createHash, pbkdf2Sync, createCipheriv, createDecipheriv } from 'node:crypto';
import { promisify } from 'node:util';
import { execFileSync } from 'node:child_process';
import * as fs from 'node:fs';
import * as zlib from 'node:zlib';
import { fileURLToPath } from 'node:url';

function work(seed) {
  let state = seed;
  const random = () => (state = (Math.imul(state, 1103515245) + 12345) & 0x7fffffff) >> 8;
  const map = new Map();
  for (let i = 0; i < 100000; i++) {
    const key = (random() % 5000).toString(16);
    map.set(key, (map.get(key) ?? 0) + 1);
  }
  const text = JSON.stringify([...map].sort());
  const buffers = [];
  for (let i = 0; i < 2000; i++) {
    const buffer = Buffer.alloc(1 + (random() % 40000), i);
    if (i % 3) buffers.push(buffer);
    if (buffers.length > 200) buffers.splice(random() % 200, 1);
  }
  const hash = createHash('sha256').update(text);
  for (const buffer of buffers) hash.update(buffer);
  return hash.digest('hex');
}

if (!isMainThread) {
  parentPort.postMessage(work(workerData));
} else {
  console.log(work(1));
  const file = fileURLToPath(import.meta.url);
  const answers = await Promise.all([2, 3, 4, 5, 6, 7].map((workerData) => new Promise((resolve, reject) => {
    new Worker(file, { workerData }).once('message', resolve).once('error', reject);
  })));
  console.log(answers.join('\n'));

  const data = Buffer.from(JSON.stringify(Array.from({ length: 60000 }, (_, i) => ({ i, square: i * i }))));
  const packs = { gzip: 'gunzip', deflate: 'inflate', brotliCompress: 'brotliDecompress' };
  await Promise.all(Object.entries(packs).map(async ([pack, unpack]) => {
    const options = pack.startsWith('brotli') ? { params: { [zlib.constants.BROTLI_PARAM_QUALITY]: 5 } } : {};
    const packed = await promisify(zlib[pack])(data, options);
    const same = (await promisify(zlib[unpack])(packed)).equals(data);
    return `${pack} ${packed.length} ${same}`;
  })).then((lines) => console.log(lines.join('\n')));

  const key = pbkdf2Sync('secret', 'salt', 20000, 32, 'sha512');
  const cipher = createCipheriv('aes-256-gcm', key, Buffer.alloc(12));
  const sealed = Buffer.concat([cipher.update(data), cipher.final()]);
  const decipher = createDecipheriv('aes-256-gcm', key, Buffer.alloc(12)).setAuthTag(cipher.getAuthTag());
  console.log(Buffer.concat([decipher.update(sealed), decipher.final()]).equals(data));

  await Promise.all(Array.from({ length: 50 }, (_, i) =>
    fs.promises.writeFile(`file${i}`, data.subarray(0, i * 10000))));
  const sizes = await Promise.all(Array.from({ length: 50 }, async (_, i) =>
    (await fs.promises.readFile(`file${i}`)).length));
  console.log(sizes.reduce((a, b) => a + b));

  console.log(execFileSync(process.execPath, ['-p', '[1, 2, 3].map((x) => x ** 20).join()']).toString().trim());
  console.log('done');
}
