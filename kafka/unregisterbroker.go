package kafka

import "github.com/twmb/franz-go/pkg/kmsg"

const keyUnregisterBroker int16 = 64

func init() {
	apis[keyUnregisterBroker] = &api{name: "UnregisterBroker", Range: Range{0, 0}, handle: handleUnregisterBroker}
}

// handleUnregisterBroker takes a node that is gone for good out of the cluster, and out of the quorum (KIP-500). It is served where there is a cluster. The
// node that is asked cannot be the one that goes.
func handleUnregisterBroker(s *session, c *call) (kmsg.Response, error) {
	req := c.req.(*kmsg.UnregisterBrokerRequest)
	resp := req.ResponseKind().(*kmsg.UnregisterBrokerResponse)
	if !s.authorizeCluster(opAlter) {
		resp.ErrorCode, resp.ErrorMessage = codeClusterAuthorizationFailed, kmsg.StringPtr(textClusterDenied)
		return resp, nil
	}
	if err := s.server.node.node.RemoveNode(c.ctx, req.BrokerID); err != nil {
		resp.ErrorCode, resp.ErrorMessage = errorCode(err, c.key, c.version), kmsg.StringPtr(err.Error())
	}
	return resp, nil
}
