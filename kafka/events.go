package kafka

// Events are functions that a Server calls when something happens that no call returns. Each may be nil. They are called
// on the goroutine of the connection or the listener concerned, with no lock held, by many at once; they must not block.
type Events struct {
	// ConnectionOpened reports a connection that was accepted, with its TLS handshake done.
	ConnectionOpened func(broker int32, listener string, c ConnInfo)
	// ConnectionClosed reports the end of one. reason is io.EOF if the client went, else what it did wrong
	// (*RequestError, an error of authentication) or what ended it here.
	ConnectionClosed func(broker int32, listener string, c ConnInfo, reason error)
	// ConnectionRefused reports one that was closed before anything was read: a limit, or a failed TLS handshake.
	ConnectionRefused func(broker int32, listener string, remote string, reason error)
	// LoginFailed reports a login by SASL that has failed, before it is answered.
	LoginFailed func(broker int32, listener string, c ConnInfo, f FailedLogin)
	// ListenerFailed reports that a listener takes no connections any more, though nobody has stopped it.
	ListenerFailed func(broker int32, listener string, err error)
	// Warning reports something unusual in the settings that was not refused, as a property that has no effect here.
	Warning func(Warning)
}
