package kafkatest

import (
	"fmt"
	"reflect"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// fillAll gives every field of a request a value, and every list two elements.
func fillAll(v reflect.Value, depth int) {
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			if name := v.Type().Field(i).Name; name != "Version" && name != "UnknownTags" && v.Type().Field(i).IsExported() {
				fillAll(v.Field(i), depth)
			}
		}
	case reflect.Slice:
		if depth > 6 {
			return
		}
		if v.Type().Elem().Kind() == reflect.Uint8 {
			v.SetBytes([]byte("x"))
			return
		}
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		for i := range 2 {
			fillAll(v.Index(i), depth+1)
			if e := v.Index(i); e.Kind() == reflect.Int32 {
				e.SetInt(int64(i))
			}
		}
	case reflect.String:
		v.SetString("name")
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fillAll(v.Elem(), depth)
	case reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		v.SetInt(1)
	case reflect.Bool:
		v.SetBool(true)
	}
}

// codes lists all error codes in an answer.
func codes(v reflect.Value) (all []int16) {
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).Name == "ErrorCode" {
				all = append(all, int16(v.Field(i).Int()))
			} else {
				all = append(all, codes(v.Field(i))...)
			}
		}
	case reflect.Slice:
		for i := range v.Len() {
			all = append(all, codes(v.Index(i))...)
		}
	}
	return all
}

// Of every API and version, whatever it asks, there is an answer with the error that a client can decode, and splitting the
// request keeps it one.
func TestEveryAPIHasAnErrorAnswer(t *testing.T) {
	without := []string{}
	for key := range int16(100) {
		if kmsg.RequestForKey(key) == nil {
			continue
		}
		for version := range kmsg.RequestForKey(key).MaxVersion() + 1 {
			req := kmsg.RequestForKey(key)
			fillAll(reflect.ValueOf(req).Elem(), 0)
			req.SetVersion(version)
			w := walker{topicName: func([16]byte) string { return "name" }}
			resp := w.blank(req, 87)
			encoded := resp.AppendTo(nil)
			again := req.ResponseKind()
			require.NoError(t, again.ReadFrom(encoded), "%s v%d", kmsg.NameForKey(key), version)
			require.Equal(t, encoded, again.AppendTo(nil))
			if version == req.MaxVersion() && len(codes(reflect.ValueOf(again).Elem())) == 0 {
				without = append(without, kmsg.NameForKey(key))
			}
			for _, c := range codes(reflect.ValueOf(resp).Elem()) {
				require.EqualValues(t, 87, c, "%s v%d", kmsg.NameForKey(key), version)
			}

			n := 0
			all := 0
			w.leaves(reflect.ValueOf(req).Elem(), item{}, func(item) { all++ })
			every := func(item) bool { n++; return n%2 == 0 }
			if part, any := w.part(reflect.ValueOf(req).Elem(), item{}, every); any {
				half := part.Addr().Interface().(kmsg.Request)
				require.NoError(t, kmsg.RequestForKey(key).ReadFrom(nilVersion(half)), "%s v%d", kmsg.NameForKey(key), version)
			}
			require.Equal(t, all, n, "%s v%d: part has looked at every place", kmsg.NameForKey(key), version)
		}
	}
	require.Equal(t, []string{"AlterReplicaLogDirs", "ShareGroupDescribe"}, without, "which no client asks for here")
}

// nilVersion encodes in version 0, which RequestForKey begins with.
func nilVersion(r kmsg.Request) []byte {
	r.SetVersion(0)
	return r.AppendTo(nil)
}

func TestErrorsGoWhereTheRulePointsInAnswersThatAreThere(t *testing.T) {
	w := walker{}
	resp := kmsg.NewPtrListOffsetsResponse()
	for _, topic := range []string{"a", "b"} {
		rt := kmsg.NewListOffsetsResponseTopic()
		rt.Topic = topic
		for p := range int32(2) {
			rp := kmsg.NewListOffsetsResponseTopicPartition()
			rp.Partition, rp.Offset = p, 7
			rt.Partitions = append(rt.Partitions, rp)
		}
		resp.Topics = append(resp.Topics, rt)
	}
	r := Rule{Topic: "b", Partitions: []int32{1}}
	require.True(t, w.stamp(reflect.ValueOf(resp).Elem(), item{}, r.picks, 6, true))
	got := ""
	for _, rt := range resp.Topics {
		for _, p := range rt.Partitions {
			got += fmt.Sprint(rt.Topic, p.Partition, ":", p.ErrorCode, ",", p.Offset, " ")
		}
	}
	require.Equal(t, "a0:0,7 a1:0,7 b0:0,7 b1:6,-1 ", got)
	require.False(t, w.stamp(reflect.ValueOf(resp).Elem(), item{}, (&Rule{Topic: "c"}).picks, 6, true))
}
