package kafka

import (
	"github.com/twmb/franz-go/pkg/kmsg"
)

// handleFindCoordinator tells which broker coordinates groups or transactional ids (FindCoordinator, KIP-699). The first
// question of a kind makes its internal topic; Apache Kafka says COORDINATOR_NOT_AVAILABLE meanwhile.
func handleFindCoordinator(s *session, c *call) (kmsg.Response, error) {
	req := c.req.(*kmsg.FindCoordinatorRequest)
	resp := req.ResponseKind().(*kmsg.FindCoordinatorResponse)
	kind := coordinatorKind(req.CoordinatorType)
	if c.version < 1 {
		kind = coordinatorGroup
	}
	if c.version < 4 {
		at, code, message := s.findCoordinator(c, kind, req.CoordinatorKey)
		resp.ErrorCode, resp.NodeID, resp.Host, resp.Port = code, at.id, at.host, at.port
		switch { // as Apache Kafka says
		case message != "":
		case code == codeNone:
			message = "NONE"
		case code == codeTransactionalIDAuthFailed:
			message = "Transactional Id authorization failed."
		default:
			message = standardTexts[code]
		}
		resp.ErrorMessage = &message
		return resp, nil
	}
	for _, key := range req.CoordinatorKeys {
		at, code, message := s.findCoordinator(c, kind, key)
		one := kmsg.NewFindCoordinatorResponseCoordinator()
		one.Key, one.ErrorCode, one.ErrorMessage = key, code, &message
		one.NodeID, one.Host, one.Port = at.id, at.host, at.port
		resp.Coordinators = append(resp.Coordinators, one)
	}
	return resp, nil
}

// nowhere is the broker in answers that have none.
var nowhere = endpoint{id: -1, port: -1}

func (s *session) findCoordinator(c *call, kind coordinatorKind, key string) (endpoint, int16, string) {
	switch {
	case kind == coordinatorGroup && !s.authorize(opDescribe, resourceGroup, key):
		return nowhere, codeGroupAuthorizationFailed, ""
	case kind == coordinatorTxn && !s.authorize(opDescribe, resourceTransactionalID, key):
		return nowhere, codeTransactionalIDAuthFailed, ""
	case kind == coordinatorShare && c.version >= 4: // there are no share groups
		return nowhere, codeInvalidRequest, ""
	case kind != coordinatorGroup && kind != coordinatorTxn:
		return nowhere, codeInvalidRequest, standardTexts[codeInvalidRequest]
	}
	_, err := s.server.coordinatorTopic(c.ctx, kind)
	if err != nil {
		return nowhere, codeCoordinatorNotAvailable, err.Error()
	}
	id, err := s.server.coordinator(kind, key)
	if err == nil && id >= 0 {
		if b := s.server.brokerByID(id); b != nil {
			if at := b.endpoint(s.listener.name); at != nil {
				return *at, codeNone, ""
			}
		}
	}
	return nowhere, codeCoordinatorNotAvailable, errCoordinatorNotAvailable.message
}
