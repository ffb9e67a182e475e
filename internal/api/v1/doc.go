// Package v1 holds the types of the API as they are on the wire. Fields are added, never renamed.
package v1
