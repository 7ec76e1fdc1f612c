module sallyport.dev/test/pause

go 1.24
