package replication

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/partlog/partlog/internal/control"
	"github.com/partlog/partlog/log"
	"github.com/partlog/partlog/partition"
)

const (
	// mendAgain is for how long a copy that has been repaired must not fail again, to be repaired once more and not copied anew.
	mendAgain = time.Minute
	// mendRounds bounds how many segments of a copy are mended, one after the other.
	mendRounds = 100
	// mendBytes is how much of the leader's log is asked for at once.
	mendBytes = 1 << 20
)

// errNoLeader says that the leader does not answer, so that it is asked again later.
var errNoLeader = errors.New("the leader of the partition cannot be asked for what is missing")

// mendRanges has the copy go on with what is good in it. It is opened again, as after a crash: what was not synced is cut off, or found to be on the disk. Ranges that
// are damaged are fetched from the leader, and only if it is proved that they are what was there (log.Mending) they take the place of the damaged ones. The copy
// has left ISR and ELR before, so whatever it lacks at its end it gets as every follower does. It returns how many records have been put in.
//
// Errors: errNoLeader, ErrClosed; after others the copy has to be made anew.
func (r *repairer) mendRanges(h *hosted, state control.PartitionState) (records int64, err error) {
	m, topic := r.manager, partition.TopicID(h.id.Topic)
	copied, err := m.node.store.Replica(h.tp, topic)
	if err != nil || len(copied.Damage()) == 0 { // a failed sync, an open that failed
		if copied, err = r.reopen(h); err != nil {
			return 0, err
		}
	}
	for round := 0; len(copied.Damage()) > 0; round++ {
		if round == mendRounds {
			return records, fmt.Errorf("%w: more than %d segments are damaged", log.ErrUnproven, mendRounds)
		}
		n, err := r.mendSegment(h, copied, state)
		if err != nil {
			return records, err
		}
		records += n
		if copied, err = r.reopen(h); err != nil {
			return records, err
		}
	}
	if copied.Damaged() {
		return records, fmt.Errorf("%w: records are missing within %s", log.ErrUnproven, h.tp)
	}
	return records, nil
}

// reopen opens the copy again.
func (r *repairer) reopen(h *hosted) (*partition.Replica, error) {
	m, topic := r.manager, partition.TopicID(h.id.Topic)
	if err := r.inTurn(h, func() error {
		h.stand()
		return m.node.store.ReopenReplica(h.tp, topic)
	}); err != nil {
		return nil, err
	}
	return m.node.store.Replica(h.tp, topic)
}

// mendSegment mends the first damaged segment, and closes the copy.
func (r *repairer) mendSegment(h *hosted, copied *partition.Replica, state control.PartitionState) (int64, error) {
	if err := r.inTurn(h, func() error { h.stand(); return r.withdraw(h, state) }); err != nil {
		return 0, err
	}
	mending, err := copied.BeginMending()
	if err != nil {
		return 0, err
	}
	defer mending.Close()
	asked := 0 // from the same offset: twice, where one batch lies between two damaged ranges
	for from, more := mending.Need(); more; {
		if err := r.feed(h, mending, from); err != nil {
			return 0, err
		}
		before := from
		if from, more = mending.Need(); from != before {
			asked = 0
		} else if asked++; asked == 3 {
			return 0, fmt.Errorf("%w: nothing fits that the leader has from offset %d on", log.ErrUnproven, from)
		}
	}
	if err := mending.Commit(); err != nil {
		return 0, err
	}
	return mending.Mended(), nil
}

// withdraw takes the copy's role in the store away.
func (r *repairer) withdraw(h *hosted, state control.PartitionState) error {
	err := r.manager.node.store.SetReplica(h.tp, partition.TopicID(h.id.Topic), partition.ReplicaState{Role: partition.RoleNone, Leader: int32(state.Leader), Epoch: partition.LeaderEpoch(state.LeaderEpoch)})
	if errors.Is(err, partition.ErrFencedLeaderEpoch) {
		return nil // a newer one has been taken away
	}
	return err
}

// feed gives the mending what the leader has from an offset on, below its high watermark: that is what nobody loses.
func (r *repairer) feed(h *hosted, mending *partition.Mending, from partition.Offset) error {
	m := r.manager
	ctx, cancel := m.within(m.node.config.RequestTimeout)
	defer cancel()
	results, err := m.node.Fetch(ctx, partition.FetchRequest{MaxWait: m.node.config.RequestTimeout / 4, MinBytes: 1, Partitions: []partition.FetchPosition{{
		TopicPartition: h.tp, TopicID: partition.TopicID(h.id.Topic), Offset: from, LeaderEpoch: -1, MaxBytes: mendBytes,
	}}})
	switch {
	case m.ctx.Err() != nil:
		return ErrClosed
	case err != nil:
		return errors.Join(errNoLeader, err)
	}
	result := &results[0]
	defer result.Lease.Release()
	switch {
	case result.Err != nil && (partition.Retriable(result.Err) || errors.Is(result.Err, context.Canceled)):
		return errors.Join(errNoLeader, result.Err)
	case result.Err != nil:
		return fmt.Errorf("%w: the leader at offset %d: %w", log.ErrUnproven, from, result.Err)
	case len(result.Batches) == 0 && result.HighWatermark > from:
		return errNoLeader
	case len(result.Batches) == 0 && result.HighWatermark < 0:
		return errNoLeader
	case len(result.Batches) == 0:
		return fmt.Errorf("%w: offset %d is not below the leader's high watermark %d", log.ErrUnproven, from, result.HighWatermark)
	}
	return mending.Feed(result.Batches)
}
