/** A program for pods: answers HTTP on TCP ports with the pod's name. `node answer.js POD PORT…` */
import { createServer } from 'node:http';

const [pod = '', ...ports] = process.argv.slice(2);
for (const port of ports) {
  createServer((request, response) => {
    const from = (request.socket.remoteAddress ?? '').replace(/^::ffff:/, '');
    response.end(`hello from ${pod}, ${from}\n`);
  }).listen(Number(port), '::');
}
