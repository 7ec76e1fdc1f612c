import { gatewayService, NAMES, PORTS } from '../../api/cluster.ts';
import type { AnyObject } from '../../kube/builtin.ts';
import { labelsOf, podLabels } from './labels.ts';
import type { ProxyInputs } from './proxy-inputs.ts';

const TUNNEL = { name: 'tunnel', port: PORTS.tunnel, targetPort: 'tunnel', protocol: 'TCP' };

function service(inputs: ProxyInputs, name: string, spec: Record<string, unknown>): AnyObject {
  const { namespace, owners } = inputs;
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name, namespace, labels: labelsOf(NAMES.proxy, 'proxy', namespace), ownerReferences: owners },
    spec: { selector: podLabels(NAMES.proxy, 'proxy'), ...spec },
  };
}

/** The name in the proxy's certificate, and what reaches any replica. */
export const proxyService = (inputs: ProxyInputs): AnyObject =>
  service(inputs, NAMES.proxy, { type: 'ClusterIP', ports: [TUNNEL] });

/** Addresses of the replicas one by one: a connector keeps to one. Those that are not ready are left out. */
export const proxyReplicasService = (inputs: ProxyInputs): AnyObject =>
  service(inputs, NAMES.proxyReplicas, { type: 'ClusterIP', clusterIP: 'None', ports: [TUNNEL] });

/** For each connection with `routing: Gateway` a Service on the port of its target. */
export function gatewayServices(inputs: ProxyInputs): AnyObject[] {
  return inputs.connections.flatMap(({ metadata, spec }) => {
    const targetPort = inputs.gatewayPorts[metadata.name];
    if (targetPort === undefined) return [];
    return [
      service(inputs, gatewayServiceName(metadata.name), {
        type: 'ClusterIP',
        ports: [{ name: 'gateway', port: spec.target.port, targetPort, protocol: 'TCP' }],
      }),
    ];
  });
}

/** A Service's name has at most 63 characters. Whose connection is called so that it does not fit is told by its status. */
const MAX_SERVICE_NAME = 63;
export const gatewayServiceName = gatewayService;
export const gatewayNameFits = (connection: string): boolean => gatewayService(connection).length <= MAX_SERVICE_NAME;
