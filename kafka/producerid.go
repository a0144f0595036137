package kafka

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/partlog/partlog/partition"
)

// handleInitProducerID gives out producer ids (InitProducerId): new ones to idempotent producers, that of its transactional
// id under a new epoch to a transactional one, which fences all before it (KIP-98, KIP-360).
func handleInitProducerID(s *session, c *call) (kmsg.Response, error) {
	req := c.req.(*kmsg.InitProducerIDRequest)
	resp := req.ResponseKind().(*kmsg.InitProducerIDResponse)
	resp.ProducerID, resp.ProducerEpoch = -1, -1
	last := partition.ProducerID{ID: req.ProducerID, Epoch: req.ProducerEpoch}
	if c.version < 3 {
		last = partition.NoProducerID
	}
	switch id := req.TransactionalID; {
	case id != nil && !s.authorize(opWrite, resourceTransactionalID, *id):
		resp.ErrorCode = codeTransactionalIDAuthFailed
	case id == nil && !s.authorizeCluster(opIdempotentWrite) && !s.authorizeAny(opWrite, resourceTopic):
		resp.ErrorCode = codeClusterAuthorizationFailed
	case (last.ID == -1) != (last.Epoch == -1), id != nil && *id == "":
		resp.ErrorCode = codeInvalidRequest
	}
	if resp.ErrorCode != codeNone {
		return resp, nil
	}
	ctx, done := s.patient(c)
	defer done()
	var err error
	if req.TransactionalID != nil {
		err = s.coordinates(coordinatorTxn, *req.TransactionalID)
	}
	got := partition.NoProducerID
	if err == nil {
		got, err = s.server.store.InitProducerID(ctx, stringOf(req.TransactionalID), millis(req.TransactionTimeoutMillis), last)
	}
	if err != nil {
		resp.ErrorCode = txnCode(err, c.key, c.version)
		return resp, nil
	}
	resp.ProducerID, resp.ProducerEpoch = got.ID, got.Epoch
	return resp, nil
}
