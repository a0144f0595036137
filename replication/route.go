package replication

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/partlog/partlog/internal/control"
	"github.com/partlog/partlog/partition"
)

// bounded is ctx, and ends after Config.RequestTimeout at the latest.
func (n *Node) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	return n.boundedBy(ctx, n.config.RequestTimeout)
}

func (n *Node) boundedBy(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := n.clock.AfterFunc(d, func() { cancel(errRequestTimeout) })
	return ctx, func() {
		stop()
		cancel(nil)
	}
}

var errRequestTimeout = fmt.Errorf("%w: no answer within the node's RequestTimeout", partition.ErrTimeout)

// leader returns who leads a partition: ErrUnknownTopicOrPartition, ErrUnknownTopicID, ErrLeaderNotAvailable.
func (n *Node) leader(tp partition.TopicPartition, id partition.TopicID) (node int32, err error) {
	n.control.read(func(m *control.Machine) {
		topic, count, ok := m.TopicID(tp.Topic)
		switch {
		case !ok || tp.Partition < 0 || tp.Partition >= count:
			err = partition.ErrUnknownTopicOrPartition
		case !id.IsZero() && id != partition.TopicID(topic):
			err = partition.ErrUnknownTopicID
		default:
			p, _ := m.Partition(topic, tp.Partition)
			if node = int32(p.Leader); p.Leader == control.NoNode {
				err = ErrLeaderNotAvailable
			}
		}
	})
	if err != nil {
		err = fmt.Errorf("%v: %w", tp, err)
	}
	return node, err
}

// Pauses between attempts, while nothing has changed.
const (
	minPause = 5 * time.Millisecond
	maxPause = 200 * time.Millisecond
)

// atLeader calls f with the node that find returns, again and again while again says that another attempt may help, until ctx ends or Config.RequestTimeout
// has passed. The last error is returned.
func (n *Node) atLeader(ctx context.Context, find func() (int32, error), f func(ctx context.Context, node int32) error, again func(error) bool) error {
	return n.atLeaderWithin(ctx, n.config.RequestTimeout, find, f, again, unknown)
}

// atLeaderWithin is atLeader for what may take longer than a request. An error of f that is unheard says that this node or the other has yet to hear of something.
func (n *Node) atLeaderWithin(ctx context.Context, d time.Duration, find func() (int32, error), f func(ctx context.Context, node int32) error, again, unheard func(error) bool) error {
	bounded, cancel := n.boundedBy(ctx, d)
	defer cancel()
	for pause := minPause; ; pause = min(2*pause, maxPause) {
		changed := n.metadataChanged()
		node, err := find()
		behind := false
		if err == nil {
			err = f(bounded, node)
			behind = err != nil && unheard(err) // such as: found here and unknown there, as one of the two has yet to hear of its creation, or of its end
		}
		switch {
		case err == nil || ctx.Err() != nil:
			return err
		case bounded.Err() != nil:
			return late(err)
		case !behind && !again(err):
			return err
		}
		if e := n.wait(bounded, changed, pause); e != nil {
			if ctx.Err() != nil || errors.Is(e, ErrClosed) {
				return e
			}
			return late(err)
		}
		pause = shorter(pause, changed)
	}
}

// shorter is the pause after one that has ended: short again if the metadata has changed, as whoever leads now has heard of it at the same time and may need a
// moment to begin.
func shorter(pause time.Duration, changed <-chan struct{}) time.Duration {
	select {
	case <-changed:
		return minPause / 2
	default:
		return pause
	}
}

// unknown reports whether an error says that there is no such topic or partition.
func unknown(err error) bool {
	return errors.Is(err, partition.ErrUnknownTopicOrPartition) || errors.Is(err, partition.ErrUnknownTopicID)
}

// sameUnknown reports whether two errors that are unknown say the same.
func sameUnknown(a, b error) bool {
	return errors.Is(a, partition.ErrUnknownTopicOrPartition) && errors.Is(b, partition.ErrUnknownTopicOrPartition) ||
		errors.Is(a, partition.ErrUnknownTopicID) && errors.Is(b, partition.ErrUnknownTopicID)
}

// late is the error of what has not succeeded within Config.RequestTimeout.
func late(err error) error {
	if errors.Is(err, context.Canceled) {
		return errRequestTimeout
	}
	return fmt.Errorf("%w: %w", errRequestTimeout, err)
}

// wait waits for changed or for pause, until ctx ends.
func (n *Node) wait(ctx context.Context, changed <-chan struct{}, pause time.Duration) error {
	over := make(chan struct{})
	stop := n.clock.AfterFunc(pause, func() { close(over) })
	defer stop()
	select {
	case <-changed:
	case <-over:
	case <-ctx.Done():
		return ctx.Err()
	case <-n.ctx.Done():
		return ErrClosed
	}
	return nil
}

// moved reports whether an error says that the request was for another node, or that none could be asked: nothing has been done.
func moved(err error) bool {
	for _, e := range []error{partition.ErrNotLeaderOrFollower, ErrLeaderNotAvailable, ErrNotController, ErrNoQuorum} {
		if errors.Is(err, e) {
			return true
		}
	}
	return notSent(err)
}

// lostToo is moved, and also the loss of a connection: for what may be done twice.
func lostToo(err error) bool {
	return moved(err) || errors.Is(err, ErrNodeNotAvailable) || errors.Is(err, partition.ErrOffsetNotAvailable)
}

// propose has the controller propose a command, again and again while there is none, until ctx ends. It is for commands that change nothing if they are applied twice.
func (n *Node) propose(ctx context.Context, command control.Command) (result control.Result, err error) {
	err = n.atLeader(ctx, func() (int32, error) { return n.id, nil }, func(ctx context.Context, _ int32) (err error) {
		result, err = n.control.propose(ctx, command)
		if err == nil && result.Code == control.NotController {
			err = ErrNotController
		}
		return err
	}, func(err error) bool {
		return errors.Is(err, ErrNoQuorum) || errors.Is(err, ErrNotController) || errors.Is(err, ErrNodeNotAvailable)
	})
	return result, err
}
