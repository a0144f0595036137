package kafkatest_test

import (
	"bytes"
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

// What a client and brokers have said to each other is recorded, and the recording answers in their place.
func ExampleStartRecorder() {
	ctx := context.Background()
	ask := func(addrs ...string) {
		k, err := kgo.NewClient(kgo.SeedBrokers(addrs...))
		if err != nil {
			fmt.Println(err)
			return
		}
		defer k.Close()
		resp, err := kmsg.NewPtrListGroupsRequest().RequestWith(ctx, k)
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(len(resp.Groups), "groups")
	}
	c, err := kafkatest.Start() // in its place a real cluster
	if err != nil {
		fmt.Println(err)
		return
	}
	var file bytes.Buffer
	recorder, err := kafkatest.StartRecorder(kafkatest.RecorderConfig{Brokers: c.Addrs(), Output: &file})
	if err != nil {
		fmt.Println(err)
		return
	}
	ask(recorder.Addrs()...)
	fmt.Println(recorder.Close(), c.Close())

	recording, err := kafkatest.ReadRecording(&file)
	if err != nil {
		fmt.Println(err)
		return
	}
	replay, err := kafkatest.NewReplay(recording)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer replay.Close()
	ask(replay.Addr())
	// Output:
	// 0 groups
	// <nil> <nil>
	// 0 groups
}
