/** A lab under a name of its own, and small programs for its pods. */
import { run } from './processes';

export interface TestLab {
  readonly name: string;
  readonly folder: string;
  /** `calico-p4 lab COMMAND --name … ARGUMENTS`, with environment last where one is given. */
  run(
    command: string,
    ...more: readonly (string | NodeJS.ProcessEnv)[]
  ): Promise<{ readonly code: number; readonly stdout: string; readonly stderr: string }>;
  /** What a program prints in a pod. */
  python(pod: string, script: string, ...args: readonly string[]): Promise<string>;
}

export function labOf(name: string): TestLab {
  const lab: TestLab = {
    name,
    folder: `/run/calico-p4-${name}`,
    run(command, ...more) {
      const args = more.filter((one) => typeof one === 'string');
      const env = more.find((one) => typeof one !== 'string');
      return run('calico-p4', ['lab', command, '--name', name, ...args], env);
    },
    async python(pod, script, ...args) {
      const { stdout, stderr } = await lab.run('exec', pod, '--', 'python3', '-c', script, ...args);
      return `${stdout}${stderr}`.trim();
    },
  };
  return lab;
}

/** One ICMP echo to an address (and from one): answered, or silence. Without ping, which is not on every machine. */
export const PING = `
import os, select, socket, struct, sys
to = sys.argv[1]
six = ':' in to
s = socket.socket(socket.AF_INET6 if six else socket.AF_INET, socket.SOCK_RAW, 58 if six else 1)
if len(sys.argv) > 2: s.bind((sys.argv[2], 0))
mark = struct.pack('!HH', os.getpid() & 0xffff, 1) + b'calico-p4'
body = struct.pack('!BBH', 128 if six else 8, 0, 0) + mark
if not six:
    padded = body + b'\\0' * (len(body) % 2)
    total = sum(struct.unpack('!%dH' % (len(padded) // 2), padded))
    while total >> 16: total = (total & 0xffff) + (total >> 16)
    body = body[:2] + struct.pack('!H', ~total & 0xffff) + body[4:]
answer = 129 if six else 0
found = 'silence'
for _ in range(2):
    s.sendto(body, (to, 0))
    while select.select([s], [], [], 1)[0]:
        data, sender = s.recvfrom(2048)
        data = data if six else data[20:]
        if data[0] == answer and data[4:] == mark and sender[0] == to: found = 'answered'; break
    if found == 'answered': break
print(found)
`;

/** The addresses that answer on the way to an IPv4 address: one that says that the time to live is over, then the address. */
export const HOPS = `
import select, socket, sys
to = sys.argv[1]
icmp = socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)
for ttl in range(1, 4):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, ttl)
    # Nobody listens there: the last one says so.
    s.sendto(b'calico-p4', (to, 33434))
    if not select.select([icmp], [], [], 2)[0]: print('silence'); continue
    _, (sender, _) = icmp.recvfrom(2000)
    print(sender)
    if sender == to: break
`;

/** One HTTP request: the body, refused, or silence. */
export const CONNECTED = `
import socket, sys
try:
    s = socket.create_connection((sys.argv[1], int(sys.argv[2])), 2)
    s.sendall(b'GET / HTTP/1.0\\r\\n\\r\\n')
    data = b''
    while True:
        more = s.recv(4096)
        if not more: break
        data += more
    print(data.decode().split('\\r\\n\\r\\n')[1].strip())
except ConnectionRefusedError: print('refused')
except socket.timeout: print('silence')
`;
