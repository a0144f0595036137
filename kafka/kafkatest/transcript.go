package kafkatest

import (
	"fmt"
	"io"
	"reflect"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Bounds of what a failed test writes to its log.
const (
	maxTranscript = 400 // calls
	maxDetail     = 240 // bytes of the fields of a request or answer
)

// String is a line of a transcript: when, by which connection and client, what was asked, and what was answered.
func (c *Call) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s #%d broker %d connection %d client %q: %s v%d", c.Began.Format(timeFormat), c.Seq, c.Broker, c.Conn.ID, c.ClientID, c.API(), c.Version)
	if req, err := c.Request(); err != nil {
		fmt.Fprintf(&b, " (%d bytes)", len(c.Frame))
	} else {
		b.WriteString(details(req))
	}
	switch resp, err := c.Response(); {
	case !c.Done:
		b.WriteString(" → waits")
	case c.Err != nil:
		fmt.Fprintf(&b, " → closed: %v", c.Err)
	case err != nil:
		fmt.Fprintf(&b, " → %d bytes that do not decode: %v", len(c.Answer), err)
	case resp == nil:
		b.WriteString(" → no answer")
	default:
		b.WriteString(" → " + strings.Join(errorsIn(resp), ", ") + details(resp))
		if c.Records > 0 {
			fmt.Fprintf(&b, " %d bytes of records", c.Records)
		}
	}
	if c.Took > 0 {
		fmt.Fprintf(&b, " after %s", c.Took)
	}
	if len(c.Rules) > 0 {
		fmt.Fprintf(&b, " [rules: %s]", strings.Join(c.Rules, "; "))
	}
	return b.String()
}

// told are the fields that a transcript has; others it does not.
var told = map[string]bool{
	"Topic": true, "Partition": true, "Group": true, "TransactionalID": true, "MemberID": true, "InstanceID": true, "Generation": true, "MemberEpoch": true,
	"ProducerID": true, "ProducerEpoch": true, "Acks": true, "Offset": true, "FetchOffset": true, "BaseOffset": true, "HighWatermark": true, "Timestamp": true,
	"SessionID": true, "SessionEpoch": true, "CoordinatorKey": true, "NodeID": true, "Leader": true, "Commit": true, "ResourceName": true, "Name": true,
	"CoordinatorKeys": true, "Key": true, "Partitions": true, "Topics": true, "Brokers": true, "Groups": true, "LeaderID": true, "SubscribedTopicNames": true,
}

// details writes the fields that tell the most.
func details(message any) string {
	var b strings.Builder
	tell(&b, reflect.ValueOf(message).Elem())
	s := b.String()
	if len(s) > maxDetail {
		s = strings.ToValidUTF8(s[:maxDetail], "") + "…"
	}
	return s
}

func tell(b *strings.Builder, v reflect.Value) {
	t := v.Type()
	for i := range t.NumField() {
		if b.Len() > maxDetail {
			return
		}
		f, name := v.Field(i), t.Field(i).Name
		if f.Kind() == reflect.Pointer && f.Type().Elem().Kind() == reflect.String {
			if f.IsNil() {
				continue
			}
			f = f.Elem()
		}
		switch f.Kind() {
		case reflect.Slice:
			if f.Len() == 0 || f.Type().Elem().Kind() == reflect.Uint8 {
				continue
			}
			if f.Type().Elem().Kind() != reflect.Struct {
				if told[name] {
					fmt.Fprintf(b, " %s=%v", name, f.Interface())
				}
				continue
			}
			for j := range f.Len() {
				if b.Len() > maxDetail {
					return
				}
				tell(b, f.Index(j))
			}
		case reflect.String:
			if told[name] && f.Len() > 0 {
				fmt.Fprintf(b, " %s=%q", name, f.String())
			}
		case reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64, reflect.Bool:
			if told[name] {
				fmt.Fprintf(b, " %s=%v", name, f.Interface())
			}
		}
	}
}

// errorsIn lists the different error codes in an answer, by name; NONE if there are none.
func errorsIn(message any) (names []string) {
	seen := map[int16]bool{}
	var walk func(v reflect.Value)
	walk = func(v reflect.Value) {
		switch v.Kind() {
		case reflect.Pointer:
			if !v.IsNil() {
				walk(v.Elem())
			}
		case reflect.Slice:
			if e := v.Type().Elem().Kind(); e == reflect.Struct || e == reflect.Pointer {
				for i := range v.Len() {
					walk(v.Index(i))
				}
			}
		case reflect.Struct:
			for i := range v.NumField() {
				f := v.Type().Field(i)
				if !f.IsExported() {
					continue
				}
				if f.Name == "ErrorCode" && f.Type.Kind() == reflect.Int16 {
					if code := int16(v.Field(i).Int()); code != 0 && !seen[code] {
						seen[code] = true
						names = append(names, ErrorName(code))
					}
					continue
				}
				walk(v.Field(i))
			}
		}
	}
	walk(reflect.ValueOf(message))
	if len(names) == 0 {
		return []string{ErrorName(0)}
	}
	return names
}

// errorsOf is errorsIn for a kmsg answer that may be absent.
func errorsOf(resp kmsg.Response) []string {
	if resp == nil {
		return nil
	}
	return errorsIn(resp)
}

// WriteTranscript writes the newest 400 requests with their answers, a line each, and what has happened to the groups.
// Values of records are not in it.
func (c *Cluster) WriteTranscript(w io.Writer) error {
	calls := c.Calls()
	if cut := len(calls) - maxTranscript; cut > 0 {
		if _, err := fmt.Fprintf(w, "(%d requests before)\n", cut); err != nil {
			return err
		}
		calls = calls[cut:]
	}
	for i := range calls {
		if _, err := fmt.Fprintln(w, calls[i].String()); err != nil {
			return err
		}
	}
	for _, e := range c.GroupHistory("") {
		if _, err := fmt.Fprintln(w, e); err != nil {
			return err
		}
	}
	return nil
}

// LogFailure writes the transcript to a test's log if the test has failed. New does it at the end of its test; who has used
// Start defers it.
func (c *Cluster) LogFailure(t testing.TB) {
	t.Helper()
	if !t.Failed() {
		return
	}
	var b strings.Builder
	_ = c.WriteTranscript(&b) // a Builder takes all
	if b.Len() > 0 {
		t.Logf("kafkatest: what the clients asked, and what happened to groups:\n%s", b.String())
	}
}
