package consumer_test

import (
	"context"
	"fmt"

	"github.com/partlog/partlog/consumer"
	"github.com/partlog/partlog/group"
	"github.com/partlog/partlog/partition"
)

// A listener flushes what it has of a partition before another member gets it, and forgets what it has lost.
func ExampleListener() {
	ctx := context.Background()
	store := openStore("a", "b", "c")
	defer store.Close()
	g, err := group.Open(store, "counters", group.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer g.Close()
	counts := map[partition.TopicPartition]int{}
	c, err := consumer.Join(ctx, g, consumer.Config{
		Topics: []string{"orders"}, Until: consumer.UntilEnd(),
		Listener: consumer.Listener{
			Assigned: func(tps []partition.TopicPartition) {
				fmt.Println("assigned", tps)
			},
			Revoked: func(tps []partition.TopicPartition) { // nobody else has them before this returns
				for _, tp := range tps {
					fmt.Println("revoked", tp, "after", counts[tp], "records")
					delete(counts, tp)
				}
			},
			Lost: func(tps []partition.TopicPartition) { // others may have them already
				for _, tp := range tps {
					delete(counts, tp)
				}
			},
		},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	for rec, err := range c.Records(ctx) {
		if err != nil {
			fmt.Println(err)
			return
		}
		counts[partition.TopicPartition{Topic: rec.Topic, Partition: rec.Partition}]++
	}
	if err := c.Close(); err != nil { // leaves the group
		fmt.Println(err)
	}
	// Output:
	// assigned [orders-0]
	// revoked orders-0 after 3 records
}
