/**
 * Every setting of Felix, and what becomes of it here. docs/felix-configuration.md is made of this (test/unit/model/felix-settings.test.ts).
 *
 * Names and defaults are those of felix/config/config_params.go: of each release from Calico 3.26.0 to the one in NEWEST_CALICO, those that
 * are gone by now included.
 */

/** The newest source that the table was compared with. */
export const NEWEST_CALICO = 'v3.34.0-0.dev-67-g87c15906f2';

/**
 * - `honoured`: the dataplane does what it says.
 * - `felix`: Felix does it itself, whatever the dataplane is.
 * - `no effect`: it is about something that is not there, and nothing less is enforced without it.
 * - `unsupported`: somebody who sets it expects something that does not happen. Logged, and shown in status.
 */
export type Treatment = 'honoured' | 'felix' | 'no effect' | 'unsupported';

export interface FelixSetting {
  /** As Felix spells it. */
  readonly name: string;
  readonly treatment: Treatment;
  /** What the dataplane does about it, a sentence. */
  readonly what: string;
  /** How values are compared with the default; settings of other treatments are not compared. */
  readonly kind?: 'bool' | 'number' | 'text';
  /** As Felix spells it; "" is nothing, or false. */
  readonly default?: string;
}

/** A setting's kind, its default, and what is done about it. */
type Described = readonly [kind: 'bool' | 'number' | 'text', standard: string, what: string];

const TUNNEL_MTU =
  "Packets that fit into the tunnel are no larger; nor than the uplink's MTU without what a tunnel adds.";
const WIREGUARD_DEVICE =
  'Where the host has such a device, packets to nodes with a key go through it; without, nowhere.';

const HONOURED: Readonly<Record<string, Described>> = {
  AllowIPIPPacketsFromWorkloads: [
    'bool',
    'false',
    "Pods' IP-in-IP packets (protocol 4) are denied unless it is true.",
  ],
  AllowVXLANPacketsFromWorkloads: [
    'bool',
    'false',
    "Pods' UDP packets to VXLANPort are denied unless it is true.",
  ],
  DefaultEndpointToHostAction: [
    'text',
    'DROP',
    "Behind the pods' egress policy. Return is as Accept: the host's own rules are in the host's stack, which gets the packet.",
  ],
  DisableConntrackInvalidCheck: [
    'bool',
    'false',
    'With true policy judges packets that belong to no connection and can open none; TCP flags that Linux does not know are dropped all the same (decision 0004).',
  ],
  DeviceRouteProtocol: [
    'number',
    '3',
    "Of the host's routes to pods (`interfaces.host`); 88 instead of the default.",
  ],
  ExternalNodesCIDRList: [
    'text',
    '',
    'Tunnel packets from these addresses are taken, as from nodes. CIDRs of more than one address are not, and the log says so.',
  ],
  FailsafeInboundHostPorts: [
    'text',
    'tcp:22,udp:68,tcp:179,tcp:2379,tcp:2380,tcp:5473,tcp:6443,tcp:6666,tcp:6667',
    'Ports of the node that no policy of its host endpoints closes.',
  ],
  FailsafeOutboundHostPorts: [
    'text',
    'udp:53,udp:67,tcp:179,tcp:2379,tcp:2380,tcp:5473,tcp:6443,tcp:6666,tcp:6667',
    "Ports elsewhere that no policy of the node's host endpoints closes.",
  ],
  FelixHostname: [
    'text',
    '',
    "Says which of the hosts this node is, and so which addresses are the node's own.",
  ],
  FloatingIPs: [
    'text',
    'Disabled',
    "With Enabled a pod is reached by the floating IPs of its annotations; OpenStack's are there always.",
  ],
  IpInIpMtu: ['number', '0', TUNNEL_MTU],
  IpInIpTunnelAddr: ['text', '', "An address of the node, on the host's interface (`interfaces.host`)."],
  NATOutgoingAddress: [
    'text',
    '',
    'What is translated on its way out of the cluster gets it (`interfaces.host`). The host must have it.',
  ],
  NATOutgoingExclusions: [
    'text',
    'IPPoolsOnly',
    'With IPPoolsAndHostIPs packets to other nodes keep their source; DSCP is left alone in them too.',
  ],
  NATPortRange: [
    'text',
    '',
    'Of TCP and UDP that is translated on its way out of the cluster (`interfaces.host`).',
  ],
  VXLANMTU: ['number', '0', TUNNEL_MTU],
  VXLANMTUV6: ['number', '0', TUNNEL_MTU],
  VXLANPort: [
    'number',
    '4789',
    "Of the tunnels between nodes; and of pods' packets that AllowVXLANPacketsFromWorkloads is about.",
  ],
  VXLANVNI: ['number', '4096', 'Of the tunnels between nodes.'],
  WireguardInterfaceName: ['text', 'wireguard.cali', WIREGUARD_DEVICE],
  WireguardInterfaceNameV6: ['text', 'wg-v6.cali', WIREGUARD_DEVICE],
  WorkloadSourceSpoofing: ['text', 'Disabled', 'Any lets endpoints use the source prefixes that they name.'],
};

const NO_FLOW_LOGS = 'There are no flow logs.';
const NO_WIREGUARD_DEVICE =
  'Nothing makes the WireGuard device: packets to nodes that have a key go through the one that the host has, and nowhere without.';
const NOT_ENCRYPTED = "The node's own packets are not encrypted.";
const NOTHING_RETURNED =
  "What policy allows is forwarded by the target: the kernel's own rules do not see packets between pods and the uplink.";
const NO_METADATA =
  "Pods' packets to OpenStack's metadata service are judged by their policy and by DefaultEndpointToHostAction.";
const NO_REJECT = 'What is denied is dropped, without an answer.';

const UNSUPPORTED: Readonly<Record<string, Described>> = {
  AWSSrcDstCheck: ['text', 'DoNothing', 'The check of the AWS instance is left as it is.'],
  BPFEnabled: [
    'bool',
    'false',
    'Pods are served by the P4 target, not by eBPF programs: the addresses of services are not translated.',
  ],
  FlowLogsGoldmaneServer: ['text', '', NO_FLOW_LOGS],
  FlowLogsLocalReporter: ['text', 'Disabled', NO_FLOW_LOGS],
  IptablesFilterAllowAction: ['text', 'ACCEPT', NOTHING_RETURNED],
  IptablesFilterDenyAction: ['text', 'DROP', NO_REJECT],
  IptablesMangleAllowAction: ['text', 'ACCEPT', NOTHING_RETURNED],
  IptablesNATOutgoingInterfaceFilter: [
    'text',
    '',
    'What leaves by the uplink is translated, whatever interface it names.',
  ],
  IstioAmbientMode: ['text', 'Disabled', "Pods' packets are not led through ztunnel."],
  LocalSubnetL2Reachability: [
    'text',
    'Disabled',
    'Nobody answers ARP or neighbour solicitations for pods at the uplink.',
  ],
  MetadataAddr: ['text', '127.0.0.1', NO_METADATA],
  MetadataPort: ['number', '8775', NO_METADATA],
  NftablesFilterAllowAction: ['text', 'ACCEPT', NOTHING_RETURNED],
  NftablesFilterDenyAction: ['text', 'DROP', NO_REJECT],
  NftablesMangleAllowAction: ['text', 'ACCEPT', NOTHING_RETURNED],
  ServiceLoopPrevention: [
    'text',
    'Drop',
    "Whatever it says: packets from the uplink to addresses that nobody here has are dropped, and pods' packets to them leave by the uplink.",
  ],
  WireguardEnabled: ['bool', 'false', NO_WIREGUARD_DEVICE],
  WireguardEnabledV6: ['bool', 'false', NO_WIREGUARD_DEVICE],
  WireguardHostEncryptionEnabled: ['bool', 'false', NOT_ENCRYPTED],
};

/** What is done about it, and the names, divided by white space. */
type Group = readonly [what: string, names: string];

const OF_FELIX: readonly Group[] = [
  [
    "Felix's connection to the datastore.",
    `DatastoreType EtcdAddr EtcdCaFile EtcdCertFile EtcdEndpoints EtcdKeyFile EtcdScheme TyphaAddr TyphaCAFile TyphaCN TyphaCertFile
     TyphaK8sNamespace TyphaK8sServiceName TyphaKeyFile TyphaReadTimeout TyphaURISAN TyphaWriteTimeout`,
  ],
  [
    "Felix's process.",
    `DataplaneDriver GoGCThreshold GoMaxProcs GoMemoryLimitMB HealthEnabled HealthHost HealthPort HealthTimeoutOverrides
     LogDebugFilenameRegex LogFilePath LogSeverityFile LogSeverityScreen LogSeveritySys UseInternalDataplaneDriver Variant`,
  ],
  [
    "Felix's own metrics; the driver's are in metrics.md.",
    `PrometheusGoMetricsEnabled PrometheusMetricsCAFile PrometheusMetricsCertFile PrometheusMetricsClientAuth PrometheusMetricsEnabled
     PrometheusMetricsHost PrometheusMetricsKeyFile PrometheusMetricsPort PrometheusProcessMetricsEnabled
     PrometheusWireGuardMetricsEnabled`,
  ],
  [
    'Felix passes on the status of endpoints that the driver reports, to the datastore and to files for the CNI plugin.',
    `EndpointReportingDelaySecs EndpointReportingEnabled EndpointStatusPathPrefix OpenstackRegion ReportingIntervalSecs ReportingTTLSecs`,
  ],
  ['Felix serves policy to application-layer proxies itself.', 'PolicySyncPathPrefix'],
  ['It says what Felix makes routes of.', 'RouteSource'],
  [
    'Of them and of the IP pools Felix makes what it says of tunnels.',
    `IPv4VXLANTunnelAddr IPv6VXLANTunnelAddr IpInIpEnabled VXLANEnabled VXLANTunnelMACAddr VXLANTunnelMACAddrV6`,
  ],
  [
    'Usage reports, and what the cluster says of itself.',
    `CalicoVersion ClusterGUID ClusterType UsageReportingEnabled UsageReportingInitialDelaySecs UsageReportingIntervalSecs`,
  ],
  [
    'For debugging Felix.',
    `DebugCPUProfilePath DebugDisableLogDropping DebugHost DebugMemoryProfilePath DebugPanicAfter DebugPort
     DebugSimulateCalcGraphHangAfter DebugSimulateDataRace`,
  ],
];

const WITHOUT_EFFECT: readonly Group[] = [
  [
    "Of the kernel's iptables, nftables and IP sets, which are not written.",
    `ChainInsertMode FeatureDetectOverride FeatureGates IpsetsRefreshInterval IptablesBackend IptablesLockFilePath IptablesLockProbeIntervalMillis
     IptablesLockTimeoutSecs IptablesMarkMask IptablesPostWriteCheckIntervalSecs IptablesRefreshInterval MaxIpsetSize
     NFTablesFlowTableDataIfacePattern NFTablesFlowTableOffload NFTablesMode NftablesMarkMask NftablesRefreshInterval`,
  ],
  [
    "Of the kernel's interfaces, routes and switches: what of them is written is in routes.md.",
    `DeviceRouteSourceAddress DeviceRouteSourceAddressIPv6 IPForwarding IPv4ElevatedRoutePriority
     IPv4NormalRoutePriority IPv6ElevatedRoutePriority IPv6NormalRoutePriority InterfaceRefreshInterval
     LiveMigrationRouteConvergenceTime NetlinkTimeoutSecs ProgramClusterRoutes RemoveExternalRoutes RouteRefreshInterval
     RouteSyncDisabled RouteTableRange RouteTableRanges`,
  ],
  [
    'Endpoints are known by their names and their ports on the target, not by what their interfaces are called.',
    'InterfaceExclude InterfacePrefix',
  ],
  ["MTUs are those of the driver's configuration (mtu.pods, mtu.uplink).", 'MTUIfacePattern RequireMTUFile'],
  ['Both families are always enforced.', 'BpfIpv6Support Ipv6Support'],
  [
    'Packets of log rules are counted, and logged every ten seconds with the names of policy and rule.',
    'LogActionRateLimit LogActionRateLimitBurst LogPrefix',
  ],
  [
    'Shortcuts through the kernel, which have no say in verdicts.',
    'GenericXDPEnabled SidecarAccelerationEnabled XDPEnabled XDPRefreshInterval',
  ],
  [
    'Of the WireGuard device, which is not made: see WireguardEnabled.',
    `WireguardListeningPort WireguardListeningPortV6 WireguardMTU WireguardMTUV6
     WireguardPersistentKeepAlive WireguardRoutingRulePriority WireguardThreadingEnabled`,
  ],
  [
    'There are no flow logs: see FlowLogsGoldmaneServer and FlowLogsLocalReporter.',
    'FlowLogsCollectorDebugTrace FlowLogsFlushInterval FlowLogsPolicyEvaluationMode',
  ],
  ['See IstioAmbientMode.', 'IstioDSCPMark'],
  ['See LocalSubnetL2Reachability.', 'LocalSubnetL2ReachabilityRefreshInterval'],
  [
    'Services are not translated; node ports are of interest only to kube-proxy in IPVS mode.',
    'KubeNodePortRanges',
  ],
  [
    "Of Felix's own dataplane.",
    'DataplaneWatchdogTimeout DebugSimulateDataplaneApplyDelay DebugSimulateDataplaneHangAfter',
  ],
  ['Of Windows.', 'WindowsManageFirewallRules'],
  [
    'Of the eBPF dataplane: see BPFEnabled.',
    `BPFAttachType BPFCTLBLogFilter BPFConnectTimeLoadBalancing BPFConnectTimeLoadBalancingEnabled BPFConntrackCleanupMode
     BPFConntrackLogLevel BPFConntrackTimeouts BPFDSROptoutCIDRs BPFDataIfacePattern BPFDisableGROForIfaces BPFDisableUnprivileged
     BPFEnforceRPF BPFExcludeCIDRsFromNAT BPFExportBufferSizeMB BPFExtToServiceConnmark BPFExternalServiceMode
     BPFForceTrackPacketsFromIfaces BPFHostConntrackBypass BPFHostNetworkedNATWithoutCTLB BPFIPFragTimeout
     BPFIPFragmentReassemblyEnabled BPFJITHardening BPFKubeProxyEndpointSlicesEnabled BPFKubeProxyHealthzPort
     BPFKubeProxyHealtzPort BPFKubeProxyIptablesCleanupEnabled BPFKubeProxyMinSyncPeriod BPFL3IfacePattern BPFLogFilters BPFLogLevel
     BPFMaglevMaxEndpointsPerService BPFMaglevMaxServices BPFMapSizeConntrack BPFMapSizeConntrackCleanupQueue
     BPFMapSizeConntrackScaling BPFMapSizeIPSets BPFMapSizeIfState BPFMapSizeNATAffinity BPFMapSizeNATBackend BPFMapSizeNATFrontend
     BPFMapSizePerCPUConntrack BPFMapSizeRoute BPFOverlayHostSourceIP BPFPSNATPorts BPFPolicyDebugEnabled BPFProfiling
     BPFRedirectToPeer CgroupV2Path DebugBPFCgroupV2 DebugBPFMapRepinEnabled`,
  ],
];

export const FELIX_SETTINGS: readonly FelixSetting[] = [
  ...described('honoured', HONOURED),
  ...described('unsupported', UNSUPPORTED),
  ...grouped('no effect', WITHOUT_EFFECT),
  ...grouped('felix', OF_FELIX),
];

function described(treatment: Treatment, settings: Readonly<Record<string, Described>>): FelixSetting[] {
  return Object.entries(settings).map(([name, [kind, standard, what]]) => ({
    name,
    treatment,
    what,
    kind,
    default: standard,
  }));
}

function grouped(treatment: Treatment, groups: readonly Group[]): FelixSetting[] {
  return groups.flatMap(([what, names]) =>
    names
      .trim()
      .split(/\s+/)
      .map((name) => ({ name, treatment, what })),
  );
}
