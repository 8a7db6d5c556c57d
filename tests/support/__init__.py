"""What tests share: real packages made on the fly and a real package index on loopback."""
