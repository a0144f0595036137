package partition

import (
	"context"
	"fmt"

	"github.com/partlog/partlog/internal/batch"
	"github.com/partlog/partlog/log"
)

// AppendTxnMarker writes the marker of a transaction that a coordinator elsewhere has decided, as the leader of its partition, and returns when it is
// replicated (Cluster.WriteTxnMarker at the other end). It may be repeated: a marker without a transaction changes nothing. Errors:
// ErrNotLeaderOrFollower, ErrNotEnoughReplicas and ErrNotEnoughReplicasAfterAppend, ErrTimeout with ctx's; ErrInvalidProducerEpoch and
// ErrTransactionCoordinatorFenced, which say that a later one has been written; ErrUnknownTopicOrPartition, ErrNoSpace, ErrStorage, ErrClosed.
func (s *Store) AppendTxnMarker(ctx context.Context, m TxnMarker) error {
	p, err := s.part(m.TopicPartition, TopicID{})
	if err != nil {
		return s.closedOr(err)
	}
	if s.config.Cluster == nil {
		return p.appendMarker(m.Producer.ID, m.Producer.Epoch, m.Commit, m.Version, m.CoordinatorEpoch, s.config.Clock.Now().UnixMilli())
	}
	r, err := p.admit(AcksAll)
	if err != nil {
		return fmt.Errorf("append marker: %w", err)
	}
	l, err := p.open()
	if err != nil {
		return err
	}
	typ := batch.ControlAbort
	if m.Commit {
		typ = batch.ControlCommit
	}
	b := batch.BuildControl(make([]byte, 0, 80), typ, m.Producer.ID, m.Producer.Epoch, m.CoordinatorEpoch, s.config.Clock.Now().UnixMilli())
	placed, err := l.Append(b, log.AppendOptions{Durable: true, Origin: log.OriginCoordinator, TxnVersion: m.Version})
	if err != nil {
		return p.appendFailed(len(b), err)
	}
	return p.awaitReplicas(ctx, r, placed.Last, 0)
}
