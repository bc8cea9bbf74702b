/** Traffic between two namespaces, from programs of ours, the same for every path that is measured. */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { promisify } from 'node:util';

const run = promisify(execFile);

/** A client and a server that can reach each other. */
export interface Ends {
  /** Names of namespaces. */
  readonly client: string;
  readonly server: string;
  /** Of the server. */
  readonly address: string;
}

export interface PathRates {
  readonly 'TCP, Gbit/s': number;
  readonly 'UDP 64-byte packets/s': number;
  readonly 'round trips/s': number;
  readonly 'connections/s': number;
}

/** Answers all that CLIENT asks. UDP: `e` comes back, `c` asks for the number of others so far. TCP: what comes is counted. */
const SERVER = `
import socket, threading
def udp():
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.setsockopt(socket.SOL_SOCKET, 33, 4 << 20)
    s.bind(('', 7))
    count = 0
    while True:
        data, sender = s.recvfrom(2048)
        if data == b'e': s.sendto(data, sender)
        elif data == b'c': s.sendto(b'%d' % count, sender)
        else: count += 1
def tcp():
    listener = socket.create_server(('', 7), backlog=1024)
    buffer = bytearray(1 << 20)
    while True:
        s, _ = listener.accept()
        got = 0
        while True:
            n = s.recv_into(buffer)
            if not n: break
            got += n
        s.sendall(b'%d' % got)
        s.close()
threading.Thread(target=udp, daemon=True).start()
print('ready', flush=True)
tcp()
`;

/** Prints a figure a line, in the order of PathRates. */
const CLIENT = `
import socket, sys, time
to, seconds = (sys.argv[1], 7), float(sys.argv[2])
def tcp(data):
    s = socket.create_connection(to, 10)
    sent, began = 0, time.time()
    while data and time.time() - began < seconds: sent += s.send(data)
    s.shutdown(socket.SHUT_WR)
    got = int(s.recv(100) or b'-1')
    assert got == sent, (got, sent)
    s.close()
    return sent, time.time() - began
sent, took = tcp(bytes(1 << 18))
print(sent * 8 / took / 1e9)
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.connect(to)
s.settimeout(1)
def ask(word):
    while True:
        s.send(word)
        try: return s.recv(100)
        except socket.timeout: pass
before, data, began = int(ask(b'c')), bytes(22), time.time()
while time.time() - began < seconds:
    for _ in range(100): s.send(data)
took = time.time() - began
time.sleep(0.3)
print((int(ask(b'c')) - before) / took)
trips, began = 0, time.time()
while time.time() - began < seconds: ask(b'e'); trips += 1
print(trips / (time.time() - began))
count, began = 0, time.time()
while time.time() - began < seconds: tcp(b''); count += 1
print(count / (time.time() - began))
`;

/** A server that runs in the namespace. Returns when it answers. */
export async function startServer(namespace: string): Promise<ChildProcess> {
  const child = spawn('ip', ['netns', 'exec', namespace, 'python3', '-c', SERVER], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  await new Promise((resolve, reject) => {
    child.stdout.once('data', resolve);
    child.once('exit', () => {
      reject(new Error(`no server runs in ${namespace}`));
    });
  });
  return child;
}

/** @param seconds for each of the figures. @throws Error when bytes are lost, or nothing comes back for long */
export async function measurePath({ client, address }: Ends, seconds: number): Promise<PathRates> {
  const args = ['netns', 'exec', client, 'python3', '-c', CLIENT, address, String(seconds)];
  const { stdout } = await run('ip', args, { timeout: 60_000 + seconds * 10_000 });
  const [tcp = NaN, packets = NaN, trips = NaN, connections = NaN] = stdout.trim().split('\n').map(Number);
  return {
    'TCP, Gbit/s': tcp,
    'UDP 64-byte packets/s': packets,
    'round trips/s': trips,
    'connections/s': connections,
  };
}

/** What `from` may not do: a TCP connection to the server's port 8. @throws Error when it can */
export async function mustBeClosed({ client, address }: Ends): Promise<void> {
  const script = `
import socket
try: socket.create_connection(('${address}', 8), 1); print('open')
except socket.timeout: print('closed')
except OSError as e: print(e)`;
  const { stdout } = await run('ip', ['netns', 'exec', client, 'python3', '-c', script]);
  if (stdout.trim() !== 'closed') throw new Error(`policy is not in force: port 8 is ${stdout.trim()}`);
}
