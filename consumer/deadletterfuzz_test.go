package consumer

import (
	"testing"

	"github.com/partlog/partlog/partition"
)

// Headers come from whoever may write to a retry or dead-letter topic: whatever they say, what is read of them can be used.
func FuzzLetterOf(f *testing.F) {
	f.Add(HeaderRetryLevel, "x", "orders", "-1", "9223372036854775807")
	f.Add(HeaderRetryDelay, "9223372036854775807", "orders", "4294967296", "0")
	f.Add(HeaderAttempts, "-5", "", "3", "7")
	f.Fuzz(func(t *testing.T, key, value, topic, number, offset string) {
		r := Record{Headers: []partition.Header{
			{Key: HeaderTopic, Value: []byte(topic)}, {Key: HeaderPartition, Value: []byte(number)}, {Key: HeaderOffset, Value: []byte(offset)},
			{Key: HeaderRetryTopic, Value: []byte("retry")}, {Key: key, Value: []byte(value)},
		}}
		l, retry, ok := letterOf(&r)
		if retry.level < 0 || retry.delay < 0 || l.Attempts < 0 || ok && (l.Partition < 0 || l.Offset < 0 || l.Topic == "") {
			t.Fatalf("%+v, %+v, %v", l, retry, ok)
		}
	})
}
