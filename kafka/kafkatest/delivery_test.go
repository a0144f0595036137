package kafkatest_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/kafka/kafkatest"
)

func kv(pairs ...string) (all []kafkatest.Record) {
	for i := 0; i < len(pairs); i += 2 {
		all = append(all, kafkatest.Record{Key: []byte(pairs[i]), Value: []byte(pairs[i+1])})
	}
	return all
}

func TestLossDuplicatesAndDisorderAreToldApart(t *testing.T) {
	sent := kv("a", "1", "b", "1", "a", "2", "b", "2")
	for _, test := range []struct {
		name                   string
		got                    []kafkatest.Record
		loss, duplicate, order string // what the errors say, "" if there is none
	}{
		{"as sent", kv("a", "1", "b", "1", "a", "2", "b", "2"), "", "", ""},
		{"keys apart", kv("b", "1", "b", "2", "a", "1", "a", "2"), "", "", ""},
		{"one is missing", kv("a", "1", "b", "1", "b", "2"), `1 of 4 records are lost, the first: key "a", value "2"`, "", ""},
		{"one is there twice", kv("a", "1", "b", "1", "a", "2", "b", "2", "a", "1"), "", `a duplicate, at offset 0: key "a", value "1"`, ""},
		{"nobody has sent it", kv("a", "1", "b", "1", "a", "2", "b", "2", "a", "3"), "", "nobody has sent", ""},
		{"out of order", kv("a", "2", "b", "1", "a", "1", "b", "2"), "", "", `key "a", value "1" came after key "a", value "2"`},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, check := range []struct {
				err  error
				want string
			}{
				{kafkatest.CheckNoLoss(sent, test.got), test.loss},
				{kafkatest.CheckNoDuplicates(sent, test.got), test.duplicate},
				{kafkatest.CheckKeyOrder(sent, test.got), test.order},
			} {
				if check.want == "" {
					require.NoError(t, check.err)
				} else {
					require.ErrorContains(t, check.err, check.want)
				}
			}
			require.Equal(t, test.loss+test.duplicate+test.order == "", kafkatest.CheckDelivered(sent, test.got) == nil)
		})
	}
}

func TestNullAndEmptyAreNotTheSame(t *testing.T) {
	null, empty := []kafkatest.Record{{Key: []byte("k")}}, []kafkatest.Record{{Key: []byte("k"), Value: []byte{}}}
	require.Error(t, kafkatest.CheckNoLoss(null, empty))
	require.NoError(t, kafkatest.CheckDelivered(null, null))
}

func TestRecordsThatAreTheSameAreCountedAndHaveNoOrder(t *testing.T) {
	sent := kv("a", "1", "a", "1", "a", "2")
	require.NoError(t, kafkatest.CheckDelivered(sent, kv("a", "2", "a", "1", "a", "1")))
	require.Error(t, kafkatest.CheckDelivered(sent, kv("a", "2", "a", "1")))
	require.ErrorContains(t, kafkatest.CheckKeyOrder(sent, sent), "order cannot be told")
}
