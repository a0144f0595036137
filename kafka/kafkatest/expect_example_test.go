package kafkatest_test

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/partlog/partlog/kafka/kafkatest"
)

// What was sent is compared with what is there, without loss, duplicates, or another order of a key's records.
func ExampleCheckDelivered() {
	c, err := kafkatest.Start(kafkatest.Topic("orders", 1))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close()
	ctx := context.Background()
	sent := []kafkatest.Record{{Key: []byte("a"), Value: []byte("1")}, {Key: []byte("a"), Value: []byte("2")}}
	for _, r := range []kafkatest.Record{sent[0], sent[1], sent[1]} { // a client that sends twice
		if _, err := c.Produce(ctx, "orders", 0, r); err != nil {
			fmt.Println(err)
		}
	}
	got, err := c.WaitRecords(ctx, "orders", 3)
	fmt.Println(len(got), err)
	fmt.Println(kafkatest.CheckNoLoss(sent, got))
	fmt.Println(kafkatest.CheckDelivered(sent, got))
	// Output:
	// 3 <nil>
	// <nil>
	// a duplicate, at offset 2: key "a", value "2"
}

// A client meets the versions of an older release.
func ExampleAs() {
	c, err := kafkatest.Start(kafkatest.As(kafkatest.Kafka28))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close()
	k, err := kgo.NewClient(kgo.SeedBrokers(c.Addrs()...))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer k.Close()
	req := kmsg.NewPtrApiVersionsRequest()
	req.Version, req.ClientSoftwareName, req.ClientSoftwareVersion = 3, "example", "1"
	resp, err := req.RequestWith(context.Background(), k)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, r := range resp.ApiKeys[:2] {
		fmt.Println(kmsg.NameForKey(r.ApiKey), r.MaxVersion)
	}
	// Output:
	// Produce 9
	// Fetch 12
}
