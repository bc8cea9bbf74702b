import { status } from '@grpc/grpc-js';
import type { MasterArbitrationUpdate, Uint128 } from 'p4runtime-js-bindings';
import type { Behaviour } from './behaviour';
import { invalid, Refusal } from './refusal';

/** One controller's stream: what the arbitration tells it. */
export interface Controller {
  notify(update: MasterArbitrationUpdate): void;
}

interface Session {
  readonly role: string;
  /** undefined: never primary. */
  electionId: bigint | undefined;
}

interface Role {
  /** The highest election id ever seen; whoever holds it is the primary. */
  highest: bigint | undefined;
  readonly controllers: Set<Controller>;
}

/**
 * Who may write: the arbitration of P4Runtime's section 5, for one device. Every role elects its own primary; a role's
 * name is all there is to it, so each has the full pipeline. Messages go out in the order that the specification gives:
 * the new primary learns of it last.
 */
export class Arbitration {
  private readonly sessions = new Map<Controller, Session>();
  private readonly roles = new Map<string, Role>();

  constructor(
    private readonly deviceId: bigint,
    private readonly behaviour: Behaviour,
  ) {
    this.roles.set('', { highest: undefined, controllers: new Set() });
  }

  /** Handles a controller's arbitration message. A refusal ends its stream; the caller then calls `leave`. */
  update(controller: Controller, message: MasterArbitrationUpdate): void {
    const name = roleName(message);
    const session = this.sessions.get(controller);
    if (session) this.checkUnchanged(session, message, name);
    else if (message.deviceId !== this.deviceId) throw this.unknownDevice(message.deviceId);
    else this.checkRoom();
    if (message.role?.config)
      throw invalid('role configurations are not supported; a role has the full pipeline');
    const electionId = message.electionId && toBigInt(message.electionId);
    const role = this.roles.get(name) ?? { highest: undefined, controllers: new Set() };
    if (electionId !== undefined && this.holder(role, electionId, controller)) {
      throw invalid(`Election id ${electionId} is already used by another controller of this role`);
    }
    const wasPrimary = session !== undefined && this.primary(role) === controller;
    this.roles.set(name, role);
    role.controllers.add(controller);
    this.sessions.set(controller, { role: name, electionId });
    if (electionId !== undefined && (role.highest === undefined || electionId >= role.highest)) {
      role.highest = electionId;
      this.notifyAll(name, role);
    } else if (wasPrimary) {
      this.notifyAll(name, role);
    } else {
      controller.notify(this.message(name, role, controller));
    }
  }

  /** A controller's stream is gone. */
  leave(controller: Controller): void {
    const session = this.sessions.get(controller);
    if (!session) return;
    const role = this.roles.get(session.role)!;
    const wasPrimary = this.primary(role) === controller;
    this.sessions.delete(controller);
    role.controllers.delete(controller);
    if (wasPrimary) this.notifyAll(session.role, role);
  }

  /** Refuses an RPC that changes the switch unless its election id is the primary's (in the specification's order). */
  checkPrimary(request: {
    readonly deviceId: bigint;
    readonly role: string;
    readonly roleId: bigint;
    readonly electionId?: Uint128 | undefined;
  }): void {
    this.checkDevice(request.deviceId);
    const role = request.roleId === 0n ? this.roles.get(request.role) : undefined;
    if (!role) {
      const name = request.roleId === 0n ? request.role : `with id ${request.roleId}`;
      throw new Refusal(status.NOT_FOUND, `no controller has role ${name}`);
    }
    const electionId = request.electionId && toBigInt(request.electionId);
    if (electionId === undefined || electionId !== role.highest || !this.primary(role)) {
      throw new Refusal(
        status.PERMISSION_DENIED,
        `election id ${electionId ?? 'unset'} is not the primary's`,
      );
    }
  }

  checkDevice(deviceId: bigint): void {
    if (deviceId !== this.deviceId) throw this.unknownDevice(deviceId);
  }

  isPrimary(controller: Controller): boolean {
    const session = this.sessions.get(controller);
    return session !== undefined && this.primary(this.roles.get(session.role)!) === controller;
  }

  private checkRoom(): void {
    const { maxControllers } = this.behaviour;
    if (this.sessions.size < maxControllers) return;
    throw new Refusal(
      status.RESOURCE_EXHAUSTED,
      `this switch takes ${maxControllers} controllers, all of them are there`,
    );
  }

  private unknownDevice(deviceId: bigint): Refusal {
    if (deviceId === 0n && this.behaviour.zeroIsInvalidDevice) return invalid('device id 0 is not one');
    return new Refusal(status.NOT_FOUND, `there is no device ${deviceId} here; this one is ${this.deviceId}`);
  }

  private checkUnchanged(session: Session, message: MasterArbitrationUpdate, role: string): void {
    const changed =
      message.deviceId !== this.deviceId ? 'device' : role !== session.role ? 'role' : undefined;
    if (!changed) return;
    throw new Refusal(status.FAILED_PRECONDITION, `a stream can not change its ${changed}; open another one`);
  }

  private holder(role: Role, electionId: bigint, except?: Controller): Controller | undefined {
    for (const c of role.controllers) {
      if (c !== except && this.sessions.get(c)!.electionId === electionId) return c;
    }
    return undefined;
  }

  private primary(role: Role): Controller | undefined {
    return role.highest === undefined ? undefined : this.holder(role, role.highest);
  }

  private notifyAll(name: string, role: Role): void {
    const primary = this.primary(role);
    for (const c of role.controllers) if (c !== primary) c.notify(this.message(name, role, c));
    primary?.notify(this.message(name, role, primary));
  }

  private message(name: string, role: Role, to: Controller): MasterArbitrationUpdate {
    const primary = this.primary(role);
    const code = primary === to ? status.OK : primary ? status.ALREADY_EXISTS : status.NOT_FOUND;
    const text =
      primary === to ? 'you are the primary' : primary ? 'another controller is primary' : 'no primary';
    return {
      deviceId: this.deviceId,
      role: name === '' ? undefined : { id: 0n, name, config: undefined },
      electionId: role.highest === undefined ? undefined : toUint128(role.highest),
      status: { code, message: text, details: [] },
    };
  }
}

function roleName({ role }: MasterArbitrationUpdate): string {
  // eslint-disable-next-line @typescript-eslint/no-deprecated -- refused, not used
  if (role && role.id !== 0n) throw invalid('roles have names, not ids (P4Runtime 1.4)');
  return role?.name ?? '';
}

function toBigInt(id: Uint128): bigint {
  return (id.high << 64n) | id.low;
}

function toUint128(id: bigint): Uint128 {
  return { high: id >> 64n, low: id & 0xffff_ffff_ffff_ffffn };
}
