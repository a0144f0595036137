package producer_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/partlog/partlog/group"
	"github.com/partlog/partlog/partition"
	"github.com/partlog/partlog/producer"
)

// lines is what a host reads itself, line by line, and keeps its place of as an offset of a group.
type lines struct {
	group *group.ConsumerGroup
	text  []string
	next  int // line to be read
	done  int // lines in committed transactions
}

var file = partition.TopicPartition{Topic: "lines.txt"}

func (l *lines) read() string {
	l.next++
	return l.text[l.next-1]
}

// TxnOffsets implements producer.OffsetSource.
func (l *lines) TxnOffsets() (*group.ConsumerGroup, group.Membership, map[partition.TopicPartition]group.CommittedOffset, error) {
	at := group.CommittedOffset{Offset: partition.Offset(l.next), LeaderEpoch: partition.LeaderEpochUnknown}
	return l.group, group.Membership{Generation: group.NoGeneration}, map[partition.TopicPartition]group.CommittedOffset{file: at}, nil
}

// TxnEnded implements producer.OffsetSource.
func (l *lines) TxnEnded(committed bool) {
	if committed {
		l.done = l.next
	}
	l.next = l.done // what an aborted transaction has read is read again
}

// Read, process, write: what is made of a line and the place behind it are committed together. Mostly the source is a
// *consumer.Consumer (examples/exactlyonce); this one is a host's own.
func ExampleProducer_TransactFrom() {
	ctx := context.Background()
	store := openStore("words", partition.TopicConfig{})
	defer store.Close()
	if _, err := store.CreateTopic(ctx, file.Topic, partition.TopicConfig{}); err != nil {
		fmt.Println(err)
		return
	}
	g, err := group.Open(store, "importers", group.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer g.Close()
	p, err := producer.New(store, producer.Config{TransactionalID: "importer"})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer p.Close()

	source := &lines{group: g, text: []string{"one", "two", "three"}}
	attempts := 0
	for source.done < len(source.text) {
		err := p.TransactFrom(ctx, source, func(tx *producer.Tx) error {
			line := source.read()
			tx.SendAsync(ctx, producer.Record{Topic: "words", Value: []byte(line)}, nil)
			if attempts++; attempts == 2 {
				return errors.New("power cut")
			}
			return nil
		})
		fmt.Println(source.done, "lines done;", err)
	}
	// Output:
	// 1 lines done; <nil>
	// 1 lines done; transaction of "importer" aborted: power cut
	// 2 lines done; <nil>
	// 3 lines done; <nil>
}
