package consumer

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/partlog/partlog/partition"
)

// ErrNotDeadLetter is a record without the headers of a dead letter.
var ErrNotDeadLetter = errors.New("not a dead letter")

// ListDeadLetters walks what is in a dead-letter topic now, in offset order within each partition. It changes nothing.
// Records that are no dead letters are left out. A non-nil error comes with a zero DeadLetter and is the last pair; errors
// are those of Assign and Records.
func ListDeadLetters(ctx context.Context, s Source, topic string) iter.Seq2[DeadLetter, error] {
	return func(yield func(DeadLetter, error) bool) {
		c, err := assignWhole(ctx, s, topic)
		if err != nil {
			yield(DeadLetter{}, fmt.Errorf("list dead letters: %w", err))
			return
		}
		defer c.Close()
		for l, err := range DeadLetters(ctx, c) {
			if errors.Is(err, ErrNotDeadLetter) {
				continue
			}
			if !yield(l, err) {
				return
			}
		}
	}
}

// assignWhole makes a consumer of all that is in a topic now.
func assignWhole(ctx context.Context, s Source, topic string) (*Consumer, error) {
	metadata, err := s.Metadata(ctx, []string{topic})
	if err != nil {
		return nil, err
	}
	var all []Assignment
	for _, m := range metadata {
		if m.Err != nil {
			return nil, fmt.Errorf("topic %q: %w", topic, m.Err)
		}
		for i := range m.Partitions {
			all = append(all, Assignment{TopicPartition: partition.TopicPartition{Topic: topic, Partition: int32(i)}, Until: UntilEnd()})
		}
	}
	return Assign(ctx, s, all, Config{})
}

// DeadLetters walks the dead letters that a consumer reads. With a member of a group each is seen to once: reaching the next
// iteration acknowledges it. The contract is that of Consumer.Records; ErrNotDeadLetter is per-record, with that record
// in DeadLetter.Record.
func DeadLetters(ctx context.Context, c *Consumer) iter.Seq2[DeadLetter, error] {
	return func(yield func(DeadLetter, error) bool) {
		for r, err := range c.Records(ctx) {
			var l DeadLetter
			if err == nil {
				var ok bool
				if l, _, ok = letterOf(&r); !ok {
					l = DeadLetter{Record: r}
					err = fmt.Errorf("%s-%d at offset %d: %w", r.Topic, r.Partition, r.Offset, ErrNotDeadLetter)
				}
			}
			if !yield(l, err) {
				return
			}
		}
	}
}

// SendBack writes the record to the topic that it came from, with the key, value and headers that it had there. It comes
// as a new record, behind what its key has had since. In the dead-letter topic it stays; a group that reads that topic
// (DeadLetters) knows what it has sent back. Errors are the forwarder's.
func (l DeadLetter) SendBack(ctx context.Context, to Forwarder) error {
	if err := to.Forward(ctx, l.Topic, l.Key, l.Value, l.Headers); err != nil {
		return fmt.Errorf("send back %s at offset %d: %w", l.TopicPartition, l.Offset, err)
	}
	return nil
}

// SendBack sends those of letters back that want says, all if it is nil, and returns how many. Records that are no dead
// letters are passed over. It stops at the first other error; with a group's letters, the one at which it stopped is not
// acknowledged.
func SendBack(ctx context.Context, letters iter.Seq2[DeadLetter, error], want func(DeadLetter) bool, to Forwarder) (n int, err error) {
	for l, err := range letters {
		if errors.Is(err, ErrNotDeadLetter) {
			continue
		}
		if err != nil {
			return n, err
		}
		if want != nil && !want(l) {
			continue
		}
		if err := l.SendBack(ctx, to); err != nil {
			return n, err
		}
		n++
	}
	return n, nil
}
