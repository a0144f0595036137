package replication

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/partlog/partlog/internal/batch"
	"github.com/partlog/partlog/internal/control"
	"github.com/partlog/partlog/internal/wire/peer"
	"github.com/partlog/partlog/partition"
)

// Append writes one whole record batch at the partition's leader, wherever it is; see partition.Store.Append. It looks for a new leader
// and tries again, until ctx ends or Config.RequestTimeout has passed, as long as that cannot write the batch twice: with an idempotent producer's it
// never does. An error that Is partition.ErrWritten leaves open whether the batch is there: an attempt before the last may have written it.
func (n *Node) Append(ctx context.Context, r partition.AppendRequest) (result partition.AppendResult, err error) {
	if err := n.open(ctx); err != nil {
		return result, err
	}
	again := lostToo
	if !idempotent(r.Batch) {
		again = func(err error) bool { return moved(err) && !errors.Is(err, partition.ErrWritten) }
	}
	// An append writes offset, epoch and time into the header; the next attempt begins with the header as it was.
	var header [batch.HeaderSize]byte
	given := copy(header[:], r.Batch)
	perhaps := false // the batch is there, of an attempt whose end is not known
	err = n.atLeader(ctx, n.finder(ctx, r.TopicPartition, r.TopicID), func(ctx context.Context, node int32) (err error) {
		r := r
		copy(r.Batch, header[:given])
		if r.TopicID.IsZero() { // the topic that has the name here, and not an older one that another node still knows
			n.control.read(func(m *control.Machine) {
				id, _, _ := m.TopicID(r.Topic)
				r.TopicID = partition.TopicID(id)
			})
		}
		if node == n.id {
			result, err = n.appendHere(ctx, r)
		} else {
			result, err = n.appendAt(ctx, node, r)
		}
		perhaps = err != nil && (perhaps || errors.Is(err, partition.ErrWritten) || errors.Is(err, ErrNodeNotAvailable) && !notSent(err))
		return err
	}, again)
	if err != nil && perhaps && !errors.Is(err, partition.ErrWritten) {
		err = fmt.Errorf("%w; an attempt before: %w", err, partition.ErrWritten)
	}
	return result, err
}

// appendHere appends to a partition that this node leads, unless it cannot know whether it still does.
func (n *Node) appendHere(ctx context.Context, r partition.AppendRequest) (partition.AppendResult, error) {
	if r.Acks == partition.AcksAll && n.control.isolated() {
		return partition.AppendResult{}, fmt.Errorf("%v: %w: the controller has not been reached for %v, and may have let others lead", r.TopicPartition, partition.ErrNotEnoughReplicas, n.config.SessionTimeout)
	}
	return n.store.Append(ctx, r)
}

// idempotent reports whether a batch has a producer id.
func idempotent(b []byte) bool {
	return len(b) >= batch.HeaderSize && batch.Batch(b).HasProducer()
}

type appendReply struct {
	Result partition.AppendResult
	Error  *wireError `json:",omitempty"`
}

// appendAt has another node append. The call is the request without its batch, with its length before it, and the batch.
func (n *Node) appendAt(ctx context.Context, node int32, r partition.AppendRequest) (partition.AppendResult, error) {
	records := r.Batch
	r.Batch = nil
	var reply appendReply
	err := n.call(ctx, node, kindProduce, framed(mustJSON(r), records), func(body []byte) error {
		return json.Unmarshal(body, &reply)
	})
	if err != nil {
		return partition.AppendResult{}, err
	}
	return reply.Result, reply.Error.err()
}

// framed joins two parts so that unframed finds them again.
func framed(first, second []byte) []byte {
	b := make([]byte, 0, 4+len(first)+len(second))
	return append(append(binary.BigEndian.AppendUint32(b, uint32(len(first))), first...), second...)
}

func unframed(b []byte) (first, second []byte, err error) {
	if len(b) < 4 || uint64(len(b)-4) < uint64(binary.BigEndian.Uint32(b)) {
		return nil, nil, fmt.Errorf("%d bytes are no request", len(b))
	}
	n := binary.BigEndian.Uint32(b)
	return b[4 : 4+n], b[4+n:], nil
}

// serveAppend answers a call of kindProduce.
func (n *Node) serveAppend(ctx context.Context, body []byte) (peer.Reply, error) {
	first, records, err := unframed(body)
	var r partition.AppendRequest
	if err == nil {
		err = json.Unmarshal(first, &r)
	}
	if err != nil {
		return peer.Reply{}, err
	}
	r.Batch, r.Foreign = records, r.Foreign || !r.Internal // it came off a socket
	var reply appendReply
	reply.Result, err = n.appendHere(ctx, r)
	if ctx.Err() != nil {
		return peer.Reply{}, ctx.Err() // nobody waits, or this node ends: what it says of itself then is nobody else's error
	}
	reply.Error = toWire(err)
	return peer.Reply{Pieces: [][]byte{mustJSON(reply)}}, nil
}

// finder finds a partition's leader. A topic that is not known may only be unknown here: once, the controller is asked whether there is more to know.
func (n *Node) finder(ctx context.Context, tp partition.TopicPartition, id partition.TopicID) func() (int32, error) {
	asked := false
	return func() (int32, error) {
		node, err := n.leader(tp, id)
		if !asked && unknown(err) {
			asked = true
			if err := n.barrier(ctx); err != nil {
				return 0, err
			}
			node, err = n.leader(tp, id)
		}
		return node, err
	}
}

type listOffsets struct {
	TP        partition.TopicPartition
	Timestamp int64
	Epoch     partition.LeaderEpoch
	Committed bool
}

type epochEnd struct {
	Epoch partition.LeaderEpoch
	End   partition.Offset
}

// Operations on one partition, at its leader.
var (
	opListOffsets       = remote[listOffsets, partition.Offset]{"ListOffsets"}
	opLookUpOffset      = remote[listOffsets, partition.FoundOffset]{"LookUpOffset"}
	opEpochEnd          = remote[listOffsets, epochEnd]{"EpochEnd"}
	opDeleteRecords     = remote[listOffsets, partition.Offset]{"DeleteRecords"} // Timestamp is the offset
	opSize              = remote[listOffsets, int64]{"Size"}
	opDescribeProducers = remote[listOffsets, []partition.ProducerState]{"DescribeProducers"}
	opAbortHanging      = remote[abortHanging, struct{}]{"AbortHanging"}
)

type abortHanging struct {
	TP       partition.TopicPartition
	Producer partition.ProducerState
}

func init() {
	define(opListOffsets, func(ctx context.Context, n *Node, a listOffsets) (partition.Offset, error) {
		return n.store.ListOffsets(ctx, a.TP, a.Timestamp)
	})
	define(opLookUpOffset, func(ctx context.Context, n *Node, a listOffsets) (partition.FoundOffset, error) {
		return n.store.LookUpOffset(ctx, a.TP, a.Timestamp, a.Epoch, a.Committed)
	})
	define(opEpochEnd, func(ctx context.Context, n *Node, a listOffsets) (epochEnd, error) {
		epoch, end, err := n.store.EpochEnd(ctx, a.TP, a.Epoch)
		return epochEnd{epoch, end}, err
	})
	define(opDeleteRecords, func(ctx context.Context, n *Node, a listOffsets) (partition.Offset, error) {
		return n.store.DeleteRecords(ctx, a.TP, partition.Offset(a.Timestamp))
	})
	define(opSize, func(ctx context.Context, n *Node, a listOffsets) (int64, error) { return n.store.Size(ctx, a.TP) })
	define(opDescribeProducers, func(ctx context.Context, n *Node, a listOffsets) ([]partition.ProducerState, error) {
		return n.store.DescribeProducers(ctx, a.TP)
	})
	define(opAbortHanging, func(ctx context.Context, n *Node, a abortHanging) (struct{}, error) {
		return struct{}{}, n.store.AbortHanging(ctx, a.TP, a.Producer)
	})
}

// onPartition does an operation at a partition's leader, and again at the next one.
func onPartition[A, R any](ctx context.Context, n *Node, tp partition.TopicPartition, o remote[A, R], a A) (result R, err error) {
	if err := n.open(ctx); err != nil {
		return result, err
	}
	err = n.atLeader(ctx, n.finder(ctx, tp, partition.TopicID{}), func(ctx context.Context, node int32) (err error) {
		result, err = o.at(ctx, n, node, a)
		return err
	}, lostToo)
	return result, err
}

// ListOffsets asks a partition's leader for the offset of a timestamp; see partition.Store.ListOffsets.
func (n *Node) ListOffsets(ctx context.Context, tp partition.TopicPartition, timestamp int64) (partition.Offset, error) {
	return onPartition(ctx, n, tp, opListOffsets, listOffsets{TP: tp, Timestamp: timestamp})
}

// LookUpOffset is ListOffsets with all that the answer says; see partition.Store.LookUpOffset.
func (n *Node) LookUpOffset(ctx context.Context, tp partition.TopicPartition, timestamp int64, epoch partition.LeaderEpoch, committed bool) (partition.FoundOffset, error) {
	return onPartition(ctx, n, tp, opLookUpOffset, listOffsets{tp, timestamp, epoch, committed})
}

// EpochEnd asks a partition's leader where a leader epoch ended; see partition.Store.EpochEnd.
func (n *Node) EpochEnd(ctx context.Context, tp partition.TopicPartition, epoch partition.LeaderEpoch) (partition.LeaderEpoch, partition.Offset, error) {
	r, err := onPartition(ctx, n, tp, opEpochEnd, listOffsets{TP: tp, Epoch: epoch})
	return r.Epoch, r.End, err
}

// DeleteRecords deletes the records of a partition before an offset, on all replicas; see partition.Store.DeleteRecords.
func (n *Node) DeleteRecords(ctx context.Context, tp partition.TopicPartition, before partition.Offset) (partition.Offset, error) {
	return onPartition(ctx, n, tp, opDeleteRecords, listOffsets{TP: tp, Timestamp: int64(before)})
}

// Size returns the size of a partition's log at its leader, in bytes.
func (n *Node) Size(ctx context.Context, tp partition.TopicPartition) (int64, error) {
	return onPartition(ctx, n, tp, opSize, listOffsets{TP: tp})
}

// DescribeProducers describes the producers that a partition's leader knows; see partition.Store.DescribeProducers.
func (n *Node) DescribeProducers(ctx context.Context, tp partition.TopicPartition) ([]partition.ProducerState, error) {
	return onPartition(ctx, n, tp, opDescribeProducers, listOffsets{TP: tp})
}

// AbortHanging ends a transaction of one partition that no coordinator knows of; see partition.Store.AbortHanging.
func (n *Node) AbortHanging(ctx context.Context, tp partition.TopicPartition, p partition.ProducerState) error {
	_, err := onPartition(ctx, n, tp, opAbortHanging, abortHanging{tp, p})
	return err
}

// open reports why nothing can be done any more.
func (n *Node) open(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return ErrClosed
	}
	return nil
}
