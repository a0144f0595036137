package kafka

import "github.com/twmb/franz-go/pkg/kmsg"

// handleDescribeCluster names the brokers that have the listener that the client uses (KIP-700).
func handleDescribeCluster(s *session, c *call) (kmsg.Response, error) {
	req := c.req.(*kmsg.DescribeClusterRequest)
	resp := kmsg.NewPtrDescribeClusterResponse()
	switch req.EndpointType {
	case 1:
	case 2:
		resp.ErrorCode = codeMismatchedEndpointType
		resp.ErrorMessage = kmsg.StringPtr("The request was sent to an endpoint of type BROKER, but we wanted an endpoint of type CONTROLLER")
		return resp, nil
	default:
		resp.ErrorCode = codeUnsupportedEndpointType
		resp.ErrorMessage = kmsg.StringPtr("Unsupported endpoint type")
		return resp, nil
	}
	if req.IncludeClusterAuthorizedOperations {
		if resp.ClusterAuthorizedOperations = 0; s.authorizeCluster(opDescribe) {
			resp.ClusterAuthorizedOperations = s.authorizedOperations(resourceCluster, clusterName)
		}
	}
	resp.ClusterID = s.server.config.ClusterID
	resp.ControllerID = s.server.controller()
	for _, b := range s.server.brokers() {
		e := b.endpoint(s.listener.name)
		fenced := !b.running.Load()
		if e == nil || fenced && !req.IncludeFencedBrokers {
			continue
		}
		m := kmsg.NewDescribeClusterResponseBroker()
		m.NodeID, m.Host, m.Port, m.Rack, m.IsFenced = e.id, e.host, e.port, e.rack, fenced
		resp.Brokers = append(resp.Brokers, m)
	}
	return resp, nil
}
